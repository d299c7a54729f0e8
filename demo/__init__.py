"""The bundled tiny Qwen2.5-VL: its scenes, its training, its measurements and its weights."""
