"""EdgeNMS, EdgeRoiAlign and EdgeRoiPool in an ONNX file: nodes, schemas and definitions."""
