"""Does nothing yet."""


def generate(spec, params):
    raise NotImplementedError("later")


def vjp(spec, params, cotangent):
    raise NotImplementedError
