"""The only place that reaches into a running model: hooks, attention rows, exclusive use, memory, gradients.

Goes in: a model that was loaded, and what it is to read. Comes out: tensors. Whatever is changed on the
model is put back, also after an error. Knows nothing of maps, pictures and pages.
"""

import model  # noqa: F401 - its guard comes before whatever imports transformers
