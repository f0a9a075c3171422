"""An activation of one's own: the bell, sigma(z) = exp(-z^2 / 2), with both derivatives."""

import adntn_ref as ar
from adntn_ref.ad import ACTIVATIONS, Activation, exp

ACTIVATIONS["bell"] = Activation(
    "bell",
    sigma=lambda z: exp(-0.5 * z * z),
    first=lambda z, x: -z * x,  # sigma'(z), given x = sigma(z) as well
    second=lambda z, x: (z * z - 1) * x,  # sigma''(z)
)

if __name__ == "__main__":
    net = ar.BrickWall((16, 16), layers=3, activation="bell")
    print(net.generate(net.init(0)).std())
