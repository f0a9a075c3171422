"""Generated weights in other frameworks: ``adntn_ref.interop.torch`` and ``adntn_ref.interop.jax``.

Neither is imported with the package: each needs its framework, which the extra ``peers`` installs.
"""
