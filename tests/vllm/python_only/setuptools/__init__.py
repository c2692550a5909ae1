"""In the place of setuptools while source archives of vllm and vllm-ascend are unpacked."""
