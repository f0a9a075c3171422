"""Array backends, one file each; see :mod:`adntn_ref.backend` for the rules they keep."""
