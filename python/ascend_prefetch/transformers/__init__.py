"""The ops in transformers models: patch(model) installs them, unpatch(model) removes them.

    import ascend_prefetch.transformers
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    ascend_prefetch.transformers.patch(model)
    model.generate(**inputs, max_new_tokens=32)

Supported are the families of families.FAMILIES, from DeepseekV2 to GlmMoeDsa and LongcatFlash, and
the language models of Kimi-K2.5 and Mistral3, in bfloat16 or float16, unquantised and without
attention biases, with eager or sdpa attention. Written for transformers 5.23 and 5.24; a release
whose code has other signatures is refused by patch, which names them.
"""

try:
    import transformers.models.deepseek_v32.modeling_deepseek_v32  # noqa: F401  as new as any
    import transformers.models.glm_moe_dsa.modeling_glm_moe_dsa  # noqa: F401
except ImportError as error:
    raise ImportError(
        "ascend_prefetch.transformers needs transformers >= 5.23: "
        "pip install 'ascend-prefetch[transformers]'"
    ) from error

from .cache import PagedLatentLayer
from .patching import patch, unpatch

__all__ = ["PagedLatentLayer", "patch", "unpatch"]
