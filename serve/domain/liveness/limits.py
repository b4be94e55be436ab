"""How much a clip may be, however it comes."""

FRAME_BYTES_MAX = 512 * 2**10
"""Bytes of one encoded frame."""
FRAMES_MIN = 8
"""Frames of a clip that is sent in one request: fewer cannot show two steps."""
FRAMES_MAX = 64
"""The most of them, seven seconds at nine a second; a stream may have more, as its hello says."""
ADVISORY_FRAMES_MIN, ADVISORY_FRAMES_MAX = 3, 16
"""Frames of a clip that belongs to no session."""
CAPTURED_MS_MAX = 2**53 - 1
"""The latest time that a phone may tell: beyond it JSON's numbers are no longer whole."""
FRAME_PIXELS_MAX = 2**22
"""Width times height of a frame: four million, where a phone's video has two."""
