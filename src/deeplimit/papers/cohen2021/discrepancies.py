"""Where the text, the figures and the released code disagree, and what was computed about it."""

from __future__ import annotations

from deeplimit.report.document import Discrepancy

SHUFFLE = Discrepancy(
    "How batches are shuffled",
    paper_says="Mini-batches, with nothing special about their order.",
    code_says=(
        "32 fixed batches, permuted by NumPy as rows of a PyTorch tensor: rows are views, so that a row is copied over another and lost, in"
        " the data that all depths share. After some 10 epochs every batch is the first. Even a correct shuffle would only permute fixed"
        " batches."
    ),
    computed=(
        "Everything with a fresh permutation of all samples in each epoch; the released shuffle as an option whose effect is measured up to"
        " 203 layers: exponents, and the loss over the samples that are no longer seen."
    ),
    claim_ids=(
        "cohen2021.shuffle.distinct-1",
        "cohen2021.shuffle.distinct-2",
        "cohen2021.shuffle.distinct-5",
        "cohen2021.shuffle.alpha",
        "cohen2021.shuffle.beta",
    ),
)

OPTIMISER = Discrepancy(
    "Which optimiser",
    paper_says="Stochastic gradient descent.",
    code_says="Adam with a learning rate of 0.01 in the run as shipped; SGD, or Adam at 0.001, in defaults that it overrides.",
    computed=(
        "All three. The exponents depend on the choice: those near the paper's are Adam's at 0.01. SGD gives the exponents 1/4 and 3/4 that"
        " follow from the conservation law of gradient flow."
    ),
    claim_ids=(
        "cohen2021.6.beta",
        "cohen2021.6.alpha",
        "cohen2021.7.alpha-sgd",
        "cohen2021.7.beta-sgd",
        "cohen2021.7.conserved-alpha",
        "cohen2021.7.conserved-beta",
        "cohen2021.7.conserved",
        "cohen2021.7.alpha-slow",
        "cohen2021.7.beta-slow",
    ),
)

THRESHOLD = Discrepancy(
    "When training stops",
    figure_says="The plots of denoised losses shade losses below 0.01.",
    code_says="A mean loss of an epoch below 0.001 in the run as shipped, 0.01 as default of the function.",
    computed="Both for tanh and on MNIST, where 0.001 is out of reach; 0.001 elsewhere.",
    claim_ids=(
        "cohen2021.6.beta",
        "cohen2021.6.beta-coarse",
        "cohen2021.9.beta-tanh",
        "cohen2021.9.beta-tanh-coarse",
        "cohen2021.9.beta-relu",
        "cohen2021.9.beta-relu-coarse",
    ),
)

LARGE_STEPS = Discrepancy(
    "Steps larger than δ",
    paper_says="One power law over all depths, 3 to 10321.",
    code_says="Adam moves every parameter by about the learning rate 0.01 at each step; δ starts at 1/L.",
    computed=(
        "Exponents of tanh are fitted up to 1625 layers; the figures go on to 10321. Above a thousand layers the first step takes δ to many"
        " times its size, and δ no longer falls. With ReLU the loss grows from 2116 layers on, in the end without bound, so that the"
        " exponent of all depths is not one of trained networks."
    ),
    claim_ids=(
        "cohen2021.6.alpha",
        "cohen2021.6.delta-times-sum",
        "cohen2021.8.beta-shallow",
        "cohen2021.8.beta",
        "cohen2021.8.beta-all-depths",
    ),
)

SIGN = Discrepancy(
    "The sign of δ for tanh",
    paper_says="A trained δ > 0.",
    code_says="|δ| multiplies the branch.",
    computed=(
        "δ itself: tanh is odd, so that a change of its sign is one of all A_k and b_k, and statistics are of |δ|. Training is not quite"
        " the same: from some hundred layers on the first steps of Adam at 0.01 take δ through 0 for some seeds. In a trial with |δ| in"
        " the branch, for 16 ≤ L ≤ 406, α and β of five seeds moved by 0.01, less than they differ from seed to seed."
    ),
)

NOISE = Discrepancy(
    "The noise in the decomposition of weights",
    paper_says="Hypothesis 2: the noise is the path W whose increments stand beside the trend, without a factor.",
    code_says="The sum of what the trend leaves, times L^(β−1). As shipped the script passes arguments that do not exist.",
    computed=(
        "Both paths; the loss without the noise does not depend on the factor. ReLU networks need their noise. tanh networks do not: with"
        " their own weights averaged over 25 pieces of depth they lose nothing. With the trend of four deep networks they do: it is"
        " not that of shallower ones, perhaps because steps of Adam exceed δ there (not tested)."
    ),
    claim_ids=(
        "cohen2021.10.tanh",
        "cohen2021.10.relu",
        "cohen2021.10.tanh-own-trend",
        "cohen2021.10.relu-own-trend",
    ),
)

INCREMENTS = Discrepancy(
    "What scaled increments can tell",
    paper_says="Increments scaled by L^β that vanish with depth speak for hypothesis 1.",
    code_says="They are plotted with β read off the maximum; the quadratic variation is computed and not plotted.",
    computed=(
        "For β < 1/2 they vanish under both hypotheses, as L^(−1) under the first and L^(β−1/2) under the second. The quadratic variation"
        " tells them apart (exponent −1 − 2β or 0), and so does the verdict on weights."
    ),
    claim_ids=(
        "cohen2021.6.quadratic-variation",
        "cohen2021.8.scaled-increments",
        "cohen2021.8.quadratic-variation",
        "cohen2021.verdict.tanh",
        "cohen2021.verdict.relu",
    ),
)

TARGET = Discrepancy(
    "The synthetic target",
    paper_says="A discretised ordinary differential equation.",
    code_says=(
        "A step of K^(−1/2) for K = 100, and start and end divided by their norms after the flow: the target depends on the norm of the"
        " start, which the input no longer tells."
    ),
    computed="As in the code. The loss still falls below 0.001.",
)

DEFAULTS = Discrepancy(
    "Settings that cannot be meant",
    code_says=(
        "A default batch of 50, which does not divide the 1024 samples and fails; a shipped run that names MNIST as its folder, the"
        " synthetic task as its data, and 10 as its largest depth; a statistic named L2 that an always-true condition replaces by the"
        " root of the sum of squares; exponents printed with either sign."
    ),
    computed="Batches of 32, both tasks, the depths of the figures, every statistic under its own name, one sign of exponents.",
    claim_ids=("cohen2021.2.depths-tanh", "cohen2021.2.depths-relu"),
)

FORGETTING = Discrepancy(
    "What makes the convolutional weights sparse",
    paper_says="Trained convolutional weights are in neither regime: few blocks keep norms of order 1, the others fall with depth.",
    code_says=(
        "L2 of 0.0005 with momentum 0.9 and a cosine from 0.1 over 200 epochs: the learning rate times the L2 coefficient adds up to 19.6"
        " decay times of the weights. Of the start, where all blocks are of one size, 3 parts in 10⁹ are left."
    ),
    computed=(
        "Small networks in fewer steps: with a larger coefficient that leaves 14 % of the start, which is judged, and with the authors',"
        " which leaves most of it. The size of most blocks is then that of the start."
    ),
    claim_ids=(
        "cohen2021.12.carriers-a",
        "cohen2021.12.carriers-delta",
        "cohen2021.12.remembered-a",
        "cohen2021.12.remembered-delta",
    ),
)

CONVOLUTIONAL_LABELS = Discrepancy(
    "The exponents in the convolutional plots",
    figure_says="Root sums of squares and increments with the label 0.0, largest norms with α = 0.1 and β = 0.0.",
    code_says=(
        "All of them minus the slope, while the plots of fully connected networks have plus the slope for sums and increments. The network"
        " of 18 blocks is trained and not plotted. The norm is that of a convolution on a torus of the size of its input, without its"
        " stride."
    ),
    computed="The slope itself, for the same norms; the 15 depths of the plots.",
    claim_ids=("cohen2021.11.maximum-a-slope", "cohen2021.11.maximum-delta-slope"),
)

DISCREPANCIES = (
    OPTIMISER,
    SHUFFLE,
    THRESHOLD,
    LARGE_STEPS,
    INCREMENTS,
    NOISE,
    SIGN,
    TARGET,
    DEFAULTS,
    FORGETTING,
    CONVOLUTIONAL_LABELS,
)
"""In the order of the report."""
