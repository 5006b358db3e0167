"""ONNX made from Hugging Face models, for `orbit models export`: what is heavy runs in environments of its own."""
