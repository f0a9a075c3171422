"""Optional packages: imported when used, with an error that names the extra which installs them."""

from importlib import import_module
from typing import Any

from adntn_ref.errors import MissingExtra


def need(module: str, extra: str) -> Any:
    """Import and return ``module``.

    Raises
    ------
    MissingExtra
        If it is not installed, naming the extra of adntn_ref that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the package is there and something inside it is broken: that is not ours to hide
        raise MissingExtra(
            f'this needs the package {error.name}; install it with: python -m pip install "adntn-ref[{extra}]"'
        ) from error
