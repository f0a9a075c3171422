"""Known mistakes that change the weight: bricks, activations, and where the weight's entries stand."""

from .entry import Mistake

_BRICK = r"$Y[a, b] = \sum_{c,e} A[a, b, c, e]\, X[c, e]$, outputs first"
_SIGMA = "sigma stands after layers 0 ... M-2 (after every depth of a tree but the last), after the mixing"


def _bricks(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "Bricks and mixing cores", "brickwall.md")


def _sigma(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "Activations", "brickwall.md")


def _place(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "Where the weight's entries stand", "brickwall.md")


BRICKS = (
    _bricks(
        "legs-in-out",
        "inputs and outputs of each brick and mixing core swapped",
        _BRICK,
        "The core is read as `A[c, e, a, b]`, inputs first: as a matrix it is transposed.",
    ),
    _bricks(
        "inputs-swapped",
        "the two input legs of each brick and mixing core swapped",
        _BRICK,
        "The sum runs over `A[a, b, e, c] X[c, e]`, typically from einsum letters in another order.",
    ),
    _bricks(
        "outputs-swapped",
        "the two output legs of each brick and mixing core swapped",
        _BRICK,
        "`Y[b, a]` is stored where `Y[a, b]` belongs, for the slices of the first column too.",
    ),
    _bricks(
        "legs-reversed",
        "the four legs of each brick and mixing core in reverse order",
        _BRICK,
        "The core is read as `A[e, c, b, a]`: `A.T`, or a file written in Fortran order. A slice is transposed.",
    ),
    _bricks(
        "axes-left-in-front",
        "the outputs of each brick and mixing core left as the first two indices of the state",
        r"$Y[.., a, b, ..] = \sum_{c,e} A[a, b, c, e]\, X[.., c, e, ..]$: the outputs stand where the inputs stood",
        "`tensordot` puts the outputs in front, and nothing moves them back (`moveaxis`).",
    ),
    _bricks(
        "slices-transposed",
        "the slices of the first column transposed",
        "`layer0.brick{q}` of the first column is stored as `A[:, :, 0, 0]`, shape `(d_q, d_{q+1})`",
        "The slice is read as `(d_{q+1}, d_q)`.",
    ),
    _bricks(
        "brick-shared",
        "the first brick of each column used for the whole column",
        "every pair has its own core, `layer{m}.brick{q}` on the modes `(q, q+1)`",
        "One core is applied to all pairs of a column; those of the others are never read, their gradients are zero.",
    ),
    _bricks(
        "columns-swapped",
        "the second column of each layer before the first",
        "a layer is the pairs (0,1), (2,3), ... and then (1,2), (3,4), ...",
        "The columns come in the other order; with the constant boundary in the layers after the first.",
    ),
    _bricks(
        "odd-column-missing",
        "the second column of each layer left out",
        "a layer has Q - 1 bricks in two columns, the second on the pairs (1,2), (3,4), ...",
        "The loop over pairs stops after the even ones; the other cores have zero gradients.",
    ),
    _bricks(
        "layers-reversed",
        "the cores of the layers in reverse order",
        "layer 0 acts first on the start state",
        "The formula is written right to left, and so the last layer's cores are applied first.",
    ),
    _bricks(
        "start-last-unit",
        "the last unit vector instead of the first as the start of the untouched last mode",
        "constant start vectors are (1, 0, ..., 0); with odd Q the last mode keeps its own through the first column",
        "The start vector is (0, ..., 0, 1).",
    ),
    _bricks(
        "start-ones",
        "a vector of ones as the start of the untouched last mode",
        "constant start vectors are (1, 0, ..., 0); with odd Q the last mode keeps its own through the first column",
        "The start vector is (1, ..., 1).",
    ),
)

SIGMAS = (
    _sigma("activation-missing", "no activation at all", _SIGMA, "The network is linear between its cores."),
    _sigma(
        "activation-after-last",
        "an activation after the last layer too",
        _SIGMA,
        "The loop applies sigma after every layer, so that with relu no weight is negative.",
    ),
    _sigma(
        "activation-before-mixing",
        "the activation before the mixing instead of after it",
        _SIGMA,
        "In a tree sigma acts between the expansion and the mixing of a depth; in a brick-wall between the two columns "
        "of a layer instead of after the second.",
    ),
    _sigma(
        "activation-every-column",
        "an activation after every column instead of every layer",
        '`activation_every="layer"`, the default: after both columns',
        "sigma acts between the two columns of a layer too.",
    ),
    _sigma(
        "activation-every-layer",
        "an activation after every layer instead of every column",
        '`activation_every="column"`: after every column but the last of the network',
        "The entry `activation_every` is not read.",
    ),
    _sigma(
        "activation-on-start",
        "the activation applied to the start state as well",
        _SIGMA + "; the outer product of the start vectors has none",
        "sigma is applied before each layer instead of after it, and so to the trainable start vectors' product.",
    ),
    _sigma(
        "root-activation-missing",
        "no activation on the root, the state at depth 1",
        "sigma after every depth of a tree but the last, the first included",
        "The loop starts with the first expansion and forgets that the root is a state.",
    ),
    _sigma(
        "gelu-tanh",
        "gelu by its tanh approximation",
        r"$z\,(1 + \mathrm{erf}(z/\sqrt 2))/2$",
        "The approximation with 0.044715 z^3 is off by up to 5e-4: too much for float32, and for float64 by far.",
    ),
    _sigma(
        "leaky-slope-tenth",
        "slope 0.1 in leaky_relu instead of 0.01",
        "leaky_relu has slope 0.01 below zero",
        "Another library's default slope, or a misplaced point.",
    ),
    _sigma(
        "leaky-slope-fifth",
        "slope 0.2 in leaky_relu instead of 0.01",
        "leaky_relu has slope 0.01 below zero",
        "Another library's default slope.",
    ),
    _sigma(
        "activation-always-relu",
        "relu whatever activation the specification names",
        "`activation` names sigma; the identity means none",
        "The entry is not read, and the brick-wall's default used.",
    ),
    _sigma(
        "activation-always-tanh",
        "tanh whatever activation the specification names",
        "`activation` names sigma; the identity means none",
        "The entry is not read, and the trees' default used.",
    ),
)

PLACES = (
    _place(
        "modes-reversed",
        "the order of the modes reversed, mode 0 the least significant",
        "mode 0 is the most significant: the generated tensor is read in C order",
        "The tensor is flattened from its last index to its first (little-endian, as quantum simulators do).",
    ),
    _place(
        "fortran-order",
        "the weight filled in Fortran order",
        "the vector of generated numbers is reshaped to the weight in C order, the last axis fastest",
        "Column-major reshape: the default of Julia, MATLAB and Fortran. A square matrix comes out transposed.",
    ),
    _place(
        "padding-front",
        "the padding in front instead of behind",
        "of the P generated numbers the first N are the weight (of the R x C matrix the first rows and columns)",
        "The last N are taken.",
    ),
    _place(
        "padding-per-row",
        "the padding at the end of each row instead of the end of the vector",
        'in the flat layout the first N numbers are the weight, whatever its rows; only `layout="axes"` pads rows',
        "The P numbers are reshaped to rows of P // rows first, and each row is cut.",
    ),
    _place(
        "layout-as-flat",
        "the first N generated numbers taken, whatever the layout",
        "axes and interleaved: the block of the first rows and columns of the R x C matrix",
        "`layout` is not read: the vector is cut and reshaped as for the flat layout.",
    ),
    _place(
        "interleaved-as-axes",
        "interleaved modes read as all row modes and then all column modes",
        "interleaved: row, column, row, column, ..., what is left of the longer list last",
        "The generated tensor is not transposed before it is read as a matrix.",
    ),
    _place(
        "interleaved-column-first",
        "interleaved modes read as column, row, column, row",
        "interleaved: row, column, row, column, ..., what is left of the longer list last",
        "Each pair starts with the column mode.",
    ),
)

FORWARD = (*BRICKS, *SIGMAS, *PLACES)
