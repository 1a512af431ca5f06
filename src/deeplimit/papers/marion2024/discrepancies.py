"""Where the text, the figures and the released code of the paper disagree, and what was computed about it.

Most are matters of convention; five are statements that differ from what follows from the definitions. Five concern the
convolutional experiments on CIFAR-10.
"""

from __future__ import annotations

from deeplimit.report.document import Discrepancy

FIGURE_1_LEFT = Discrepancy(
    "What Figure 1, left, plots",
    paper_says="The maximum over layers and training time of ‖Z_{k+1} − Z_k‖_F, which decays as 1/L (label, caption, Prop. 3).",
    figure_says="Curves of slope −1/2 in log–log axes.",
    code_says=(
        "The larger of two numbers, one for V and one for W: the root of the sum, over iterations and layers, of squared"
        " distances. Where each distance is of order 1/L, this decays as L^{-1/2}."
    ),
    computed=(
        "Both, on the authors' draw and on replicates. The maximum has slope −1, so the statement holds; the released statistic"
        " has slope −1/2 and gives the published values, under a label that is another quantity's."
    ),
    claim_ids=(
        "marion2024.4.true-maximum",
        "marion2024.4.true-maximum-printed-model",
        "marion2024.4.published-aggregate",
        "marion2024.4.caption-of-the-plotted-curves",
        "marion2024.6.published-curves",
    ),
)

FACTORS = Discrepancy(
    "The factors 1/√m and 1/√q",
    paper_says="Equation (3) has them, and section 5.1 says that the experiments use (3).",
    figure_says="The loss of Figure 2 falls to 7e-8.",
    code_says=(
        "It leaves them out: the same as (3) with weights √m V and √q W, another scale at the start (pre-activations of"
        " standard deviation 4 in place of 1) and another metric of the gradient."
    ),
    computed=(
        "The published curves and losses are those of the code. With the factors, successive layers approach each other as 1/L"
        " as well; the loss after 80,000 iterations is far from that of Figure 2."
    ),
    claim_ids=(
        "marion2024.6.published-curves",
        "marion2024.4.true-maximum-printed-model",
        "marion2024.11.loss-late",
        "marion2024.11.final-loss-as-printed",
    ),
)

LOSS = Discrepancy(
    "What the loss averages over",
    paper_says="A sum over the coordinates of an output, a mean over samples.",
    figure_says="The loss of Figure 2 starts at 1.89, as a mean over coordinates does; a sum would start near 32.",
    code_says="A mean over samples and coordinates: the paper's loss divided by d = 16, so that training is 16 times slower.",
    computed="With the mean over coordinates the published losses; with the sum the model as printed, whose loss ends far above.",
    claim_ids=("marion2024.11.loss-early", "marion2024.11.loss-late", "marion2024.11.final-loss-as-printed"),
)

STRIDES = Discrepancy(
    "Strides of the convolutions",
    paper_says="Stride 2 in the residual layers and in the first convolution; a skip connection does not allow the former.",
    code_says="Stride 1 in the residual layers and 3 in the first convolution.",
    computed="The network of the code: stride 3 is the one that gives the 64 features of its head.",
    claim_ids=("marion2024.22.gelu-tied-test",),
)

CONVOLUTION_DRAW = Discrepancy(
    "Initial distribution of the convolutions",
    paper_says="Gaussian.",
    code_says="PyTorch's default, which is uniform.",
    computed="The uniform start of the code, of the same variance as a normal one of standard deviation 1/√(3 fan-in).",
    claim_ids=("marion2024.23.gelu-iid-lag",),
)

CONDITIONS = Discrepancy(
    "Whether Figure 2 is an instance of Theorem 6",
    paper_says=(
        "Theorem 6 needs q ≥ d + d′, ‖x‖ = √q, small targets, a bounded activation, and a width m ≥ c_1 n; section 5.1 says that"
        " the width of the run is large enough."
    ),
    code_says="q = d = d′ = 16, Gaussian inputs and targets, GELU, n = 50 and m = 64.",
    computed=(
        "None of these conditions is met: c_1 alone is above 1e7 for tanh. The run illustrates the theorem and is no case of it. What"
        " the theorem says is checked in a setting of its own: tanh, inputs on the sphere, q = d + d′, small targets, A and B"
        " trained; only its constants are not met there."
    ),
    claim_ids=(
        "marion2024.11.condition-state",
        "marion2024.11.condition-width",
        "marion2024.11.condition-depth",
        "marion2024.11.condition-input",
        "marion2024.14.loss-bound",
    ),
)

PRECISION = Discrepancy(
    "Precision of the published values",
    paper_says="Section 5.1 names no precision.",
    figure_says="Figure 2 ends at a loss of 7.0e-8; the lightest cell of Figure 1 right (W, L = 1024, 50 iterations) is 3.2e-6.",
    code_says="float32 throughout.",
    computed=(
        "Both are at the rounding of float32. In float32 we find 7.05e-8 after 80,000 iterations, in float64 5.24e-8; the two part"
        " after about 50,000. The cell is 2.5e-6 in float64. Published values are therefore compared in float32; exponents are"
        " measured in float64."
    ),
    claim_ids=("marion2024.11.loss-late", "marion2024.11.loss-last-exact", "marion2024.7.published-W"),
)

ADJOINT = Discrepancy(
    "Sign and transpose of the adjoint equation",
    paper_says="Appendix A.5: dP/ds = ∂₁f P. The recursion of backpropagation before it lacks the transpose too.",
    code_says="Automatic differentiation, which amounts to dP/ds = −(∂₁f)ᵀ P, integrated backwards from s = 1.",
    computed=(
        "Networks train like the limiting dynamics with the sign and the transpose, up to O(1/L); from the dynamics as printed they"
        " stay away at every depth."
    ),
    claim_ids=("marion2024.10.parameters-in-depth", "marion2024.10.printed-adjoint"),
)

PL_CONSTANT = Discrepancy(
    "The constant μ of Proposition 5",
    paper_says="The statement has μ = c_4/(n √n q); the last line of its proof reaches c_4/(n √(n q)), larger by √q.",
    computed=(
        "The statement is the weaker of the two and follows from the proof, so it is the one that is tested: μ n √n q does not"
        " decay with n."
    ),
    claim_ids=("marion2024.14.no-decay", "marion2024.15.exponent-training"),
)

CHERNOFF = Discrepancy(
    "The Chernoff bound in the proof of Lemma 21",
    paper_says="A tail of at most exp(−(1 − t²) μ/2).",
    computed=(
        "A binomial variable, the smallest case of the bound, has a heavier tail than that. The usual form has (1 − t)², which holds"
        " and replaces 3/64 by 1/64 in the probability of Prop. 5; nothing else changes."
    ),
    claim_ids=("marion2024.lemma21.chernoff-as-printed", "marion2024.lemma21.chernoff-usual"),
)

RELU_FLOW = Discrepancy(
    "The flow of the ReLU counter-example",
    paper_says="Appendix D prints dw/dt without the factor x/(2L) that differentiating the loss gives.",
    computed=(
        "The measured derivative is x/(2L) times the printed one. The factor changes the clock alone: the weights tend to the limits"
        " that the paper gives."
    ),
    claim_ids=("marion2024.19.printed-flow", "marion2024.19.exact-flow", "marion2024.19.even-weights"),
)

TIME = Discrepancy(
    "Units of training time",
    paper_says="Section 5.1 speaks of a training time T = 500.",
    figure_says="The axis counts training iterations.",
    code_says="500 is a number of iterations, each of step L × 0.01 on the layers: a time of 5 of the flow (4).",
    computed="Everything is given in iterations; the limiting dynamics is compared at iterations times learning rate.",
    claim_ids=("marion2024.10.parameters-in-rate",),
)

RELEASED_SIZES = Discrepancy(
    "Sizes in the released scripts",
    paper_says="500 iterations for Figure 1 and 80,000 for Figure 2.",
    figure_says="Curves labelled 1, 50, 100, … 450 iterations in Figure 1, left, over depths 2 to about 1000.",
    code_says=(
        "Depths end at 1014, where 1024 was probably meant. The scripts ship with 50 and 10,000 iterations, and the horizons of the"
        " curves are 1, 51, 101, …"
    ),
    computed=(
        "L = 1014 and the paper's iterations. The curve labelled 50 has the value of 50 iterations: 0.0815 at L = 64, where 51 give"
        " 0.0847."
    ),
    claim_ids=("marion2024.6.published-curves", "marion2024.6.published-curves-deepest", "marion2024.11.loss-late"),
)

ALIGNMENT = Discrepancy(
    "Which layers of two depths are compared",
    paper_says="Equation (8): layer ⌊(L − 1)s⌋ of both.",
    code_says="Left edges, s = i/L: layer i with layer ⌊i L_ref/L⌋ of the reference.",
    computed="Both. They differ by O(1/L), and the distance decays as 1/L with either; the published maps are those of the code.",
    claim_ids=("marion2024.7.l2", "marion2024.7.l2-paper-alignment", "marion2024.7.published-V"),
)

INTERQUARTILE = Discrepancy(
    "What ± means in Table 1",
    paper_says="An interquartile range is printed after ±, which may stand for its width or for half of it.",
    code_says="The statistics of the table are not in the released code.",
    computed="Medians with both quartiles; at the paper's size the quartiles have to lie within a point of the published median.",
    claim_ids=("marion2024.22.gelu-tied-test", "marion2024.22.gelu-tied-training"),
)

TRAINING_ACCURACY = Discrepancy(
    "What the training accuracy of Table 1 is",
    paper_says="Training accuracy.",
    code_says=(
        "A mean over the batches of the last epoch, of images as augmented, with the normalisation's statistics of the batch, each batch"
        " before its update. That is why it can lie below the test accuracy."
    ),
    computed="The mean of the code.",
    claim_ids=("marion2024.22.identity-tied-training", "marion2024.22.identity-tied-test"),
)

CIFAR_RUNS = Discrepancy(
    "Seeds and lengths of the runs on CIFAR-10",
    paper_says="Five runs a cell of 180 epochs with an initial learning rate of 0.04.",
    code_says=(
        "The seed stands in the name of the checkpoint and nowhere else: no run can be made again. The script ships with 60 epochs, 8"
        " layers and a rate of 0.03, which the command line replaces."
    ),
    computed="The paper's sizes at the full tier, every run from its seed.",
    claim_ids=("marion2024.22.gelu-tied-test",),
)

DISCREPANCIES: tuple[Discrepancy, ...] = (
    FIGURE_1_LEFT,
    FACTORS,
    LOSS,
    STRIDES,
    CONVOLUTION_DRAW,
    CONDITIONS,
    PRECISION,
    ADJOINT,
    PL_CONSTANT,
    CHERNOFF,
    RELU_FLOW,
    TIME,
    RELEASED_SIZES,
    INTERQUARTILE,
    TRAINING_ACCURACY,
    CIFAR_RUNS,
    ALIGNMENT,
)
