"""`edgecv demo`: the whole line on one page, from training images to detections on new ones."""
