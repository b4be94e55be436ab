"""stub"""
def assess(image, detections, mesh, pose, chip): return ()
