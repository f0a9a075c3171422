"""Known mistakes that change the weight: trees, multilinear formats, combinations."""

from .entry import Mistake

_NODE = r"$Y[.., l, r, ..] = \sum_p W[l, r, p]\, X[.., p, ..]$"
_PAIRS = "pairs of neighbours whose nodes have different parents: (1,2), (3,4), ... for a power of two"


def _tree(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "Trees", "trees.md")


def _format(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "Multilinear formats", "shallow.md")


def _several(name: str, sentence: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, sentence, right, wrong, "Combinations", "shallow.md")


TREES = (
    _tree(
        "children-swapped",
        "left and right children of each node swapped",
        _NODE,
        "The core is read as `W[r, l, p]`, so that left and right bond are transposed.",
    ),
    _tree(
        "node-bond-first",
        "each node's core read with its upper bond first, (p, l, r)",
        _NODE + ": the upper bond is the last index",
        "The stored numbers are reshaped to `(chi, chi_l, chi_r)`.",
    ),
    _tree(
        "root-transposed",
        "the root transposed",
        "the root has shape `(chi_left, chi_right)`",
        "Its two bonds are read in the other order.",
    ),
    _tree(
        "split-floor",
        "the smaller half of an odd node on the left",
        "the node of modes [i, j) splits after i + ceil((j - i) / 2): the left half is the larger",
        "It splits after i + (j - i) // 2. Seen where the number of modes is no power of two and the shapes allow it.",
    ),
    _tree(
        "mix-before-expand",
        "each depth mixed before its expansion, on the parents",
        "expand, then mix, then sigma: `mix{k}.{q}` acts on the indices q, q + 1 of the state at depth k",
        "The core acts on the two parents of its pair, before these are expanded.",
    ),
    _tree(
        "pairs-one-left",
        "the mixed pairs one index too far to the left",
        _PAIRS,
        "The pairs (0,1), (2,3), ... lie inside the lowest nodes, where mixing adds nothing to the tree.",
    ),
    _tree(
        "pairs-one-right",
        "the mixed pairs one index too far to the right",
        _PAIRS,
        "The core of the pair (q, q+1) acts on (q+1, q+2).",
    ),
    _tree(
        "mix-missing",
        "no mixing at all",
        "aTTN mixes at the last depth, MERA at every depth",
        "The result is that of the plain tree; the mixing cores have zero gradients.",
    ),
    _tree(
        "mix-last-only",
        "a MERA that mixes at the last depth alone, as an aTTN",
        "MERA mixes at every depth from the second on",
        "The mixing cores above the last depth are never read.",
    ),
    _tree(
        "mix-last-missing",
        "no mixing at the last depth",
        "aTTN mixes at the last depth, MERA at every depth, the last included",
        "The physical legs are left as the expansion makes them.",
    ),
    _tree(
        "periodic-missing",
        "the pair of the last and the first index not mixed",
        "`periodic=True`: (last, first) is a pair too where both are still free",
        "The core `mix{k}.{n-1}` is never read.",
    ),
    _tree(
        "periodic-swapped",
        "the pair of the last and the first index taken as (first, last)",
        "`periodic=True`: the last index is the left one of the pair (last, first)",
        "The two legs of the periodic core are swapped, on both sides.",
    ),
    _tree(
        "node-as-level",
        "the activation on the levels instead of at the nodes",
        '`activation_site="node"`: frames from the leaves, sigma on each frame, none on the root',
        "The entry `activation_site` is not read; the tree is expanded from the root.",
    ),
    _tree(
        "level-as-node",
        "the activation at the nodes instead of on the levels",
        '`activation_site="level"`: the state is expanded from the root, sigma on every state but the last',
        "The tree is contracted from the leaves, with sigma on each frame.",
    ),
)

FORMATS = (
    _format(
        "row-column-swapped",
        "row and column leg of each MPO core swapped",
        "`core{k}` has shape `(b_k, r_k, c_k, b_{k+1})`",
        "It is read as `(b_k, c_k, r_k, b_{k+1})`: transposed pair by pair.",
    ),
    _format(
        "bonds-transposed",
        "left and right bond of each inner core of a chain swapped",
        "tensor train: `core{k}[b_k, n_k, b_{k+1}]`; MPO: n_k = (r_k, c_k)",
        "Cores with equal bonds are transposed; the sizes do not show it.",
    ),
    _format(
        "core-mode-first",
        "each core of a chain read with its mode first, (n, b, b')",
        "tensor train: `core{k}[b_k, n_k, b_{k+1}]`; MPO: n_k = (r_k, c_k)",
        "The stored numbers are reshaped to `(n_k, b_k, b_{k+1})`.",
    ),
    _format(
        "right-transposed",
        "the right factor of the low rank read as (columns, rank)",
        "`W = left @ right`, `right` of shape `(rank, columns)`",
        "The stored numbers are reshaped to `(columns, rank)` and transposed.",
    ),
    _format(
        "factors-transposed",
        "each factor of CP and Tucker read as (rank, mode)",
        "`factor{q}` has shape `(d_q, r)`, for Tucker `(d_q, r_q)`",
        "The stored numbers are reshaped to `(r, d_q)` and transposed.",
    ),
)

COMBINED = (
    _several(
        "sum-mean",
        "the mean of the networks of a sum instead of their sum",
        "Sum: `W = W_0 + W_1 + ...`",
        "The weight and the gradients are divided by the number of networks.",
    ),
    _several(
        "split-floor-chunks",
        "the chunks of a split floor(N / n) long, the last one longer",
        "n consecutive chunks of ceil(N / n), the last one shorter",
        "Entries move over to the next network; seen where n does not divide N.",
    ),
    _several(
        "split-strided",
        "chunk k of a split made of every n-th entry from k on",
        "chunks are consecutive: entries k L ... (k+1) L - 1 of the weight's vector",
        "The chunks are dealt out like cards.",
    ),
    _several(
        "split-reversed",
        "the chunks of a split in reverse order",
        "network 0 makes the first chunk",
        "The last network's chunk comes first.",
    ),
    _several(
        "stack-sorted",
        "the weights of a stack in the order of their sorted names",
        "the weights are cut from the vector in the given order; it counts",
        "A dict was sorted on the way (JSON writers and `jax.tree` do).",
    ),
    _several(
        "delta-base-missing",
        "the frozen weight left out",
        r"Delta: $W = W_0 + \alpha\,\mathrm{net}$",
        "Only the change is returned.",
    ),
    _several(
        "delta-alpha-missing",
        "the factor alpha of the change left out",
        r"Delta: $W = W_0 + \alpha\,\mathrm{net}$; the cotangent of the network's weight is $\alpha G$",
        "alpha is taken as 1, forward and backward.",
    ),
    _several(
        "delta-alpha-over-rank",
        "the change scaled by alpha / rank, as LoRA has it",
        r"Delta: $W = W_0 + \alpha\,\mathrm{net}$, whatever the rank",
        "LoRA's scaling is alpha over rank; here alpha is the whole factor.",
    ),
)

NETWORKS = (*TREES, *FORMATS, *COMBINED)
