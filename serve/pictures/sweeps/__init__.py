"""What a sweep came to as one page for people: the only place of jinja2.

    content  what a report tells, and how much of it
    chance   error rates and thresholds out of a calibration
    charts   the histogram and the curves, as shapes
    graph    a ring as a graph: who stands where
    report   all of it as one HTML file that asks nobody for anything

Charts are plain SVG within the page: it follows the reader's light or dark, and its content policy
admits neither scripts nor styles but its own.
"""
