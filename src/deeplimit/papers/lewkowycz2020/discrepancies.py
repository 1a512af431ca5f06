"""Where the text, the released code and its README disagree, and what is done here; only what was read is given as theirs."""

from __future__ import annotations

from deeplimit.report.document import Discrepancy

NORMALISATION = Discrepancy(
    "What λ multiplies",
    paper_says="The training loss plus (λ/2)‖θ‖², θ all parameters.",
    code_says=(
        "Cross-entropy averaged over the batch and over the K classes, plus λ‖θ‖²: no ½, and a loss that is K times smaller than the usual"
        " mean. Biases and the scales and shifts of batch normalisation are penalised too."
    ),
    computed=(
        "Mean cross-entropy plus (λ/2)‖θ‖², θ all parameters. The same weights at every step come from λ = 2K times their coefficient and"
        " 1/K of their learning rate: for CIFAR-10 0.1 is 2, 1e-4 is 2e-3, and a learning rate of 0.2 is 0.02. The convention"
        " `lewkowycz2020` of `deeplimit l2 convert` is theirs, and `PublishedRule(classes=10)` counts in their coefficient."
    ),
    claim_ids=("lewkowycz2020.6.wide-final-published", "lewkowycz2020.6.wide-time-published"),
)

DELAY = Discrepancy(
    "How long AutoL2 waits between two divisions",
    code_says=(
        "0.1/λ steps, whatever the learning rate. The help text of the option counts epochs times learning rate times λ: ten times the"
        " learning rate would be a tenth of the wait."
    ),
    computed=(
        "`PublishedRule` waits as the code does, `delay`/λ steps in their λ. `RobustRule` counts in decay times (1 − m)/(ηλ), which"
        " have learning rate and momentum in them."
    ),
    claim_ids=(
        "lewkowycz2020.6.refractory",
        *(f"lewkowycz2020.6.{what}-{rule}" for what in ("final", "time") for rule in ("published", "robust")),
    ),
)

PHYSICAL = Discrepancy(
    "How long runs in units of 1/(ηλ) are",
    code_says=(
        "The README gives the length of a run by `-physicalL2` alone. The script looks at it only where `-physical` is given too, and else"
        " takes the number for epochs: 0.02 of them, rounded down to none."
    ),
    computed=(
        "As the README means it: a run of the time law has a number of steps that is proportional to 1/(ηλ), ten decay times"
        " (`reading.horizon`). The options have no counterpart here."
    ),
    claim_ids=("lewkowycz2020.1.slope-halved", "lewkowycz2020.1.time-halved", "lewkowycz2020.4.plateau"),
)

TEST_SET = Discrepancy(
    "Which images t* and λ are chosen on",
    paper_says="Performance is the highest test accuracy of a run, and t* the time at which it is reached.",
    code_says="CIFAR-10 has its two parts; accuracy in training is that on the test set, and there is no validation split.",
    computed=(
        "t* and the best λ come from images of the training part that are never trained on; accuracies that are compared are those of the"
        " test set. t* on the test set is a claim of its own, `slope(…, quantity=TEST)`."
    ),
    claim_ids=("lewkowycz2020.1.slope-0.5-point", "lewkowycz2020.10.slope-test"),
)

WEIGHT_SEED = Discrepancy(
    "What a seed changes",
    code_says="Order and augmentation of the batches. The weights at the start are always those of one seed.",
    computed=(
        "Every seed draws its own weights, order and augmentation, on the same images. Intervals over seeds are therefore those of other"
        " initialisations too. One start for several orders is not an option here."
    ),
    claim_ids=("lewkowycz2020.1.slope-0.5-point", "lewkowycz2020.6.final-published", "lewkowycz2020.6.final-robust"),
)

BATCH_STATISTICS = Discrepancy(
    "Batch normalisation in evaluation",
    code_says=(
        "No running averages: mean and variance are those of the batch, in evaluation too, where a batch is all test images of a device. In"
        " training it is the 128 images of a device, eight of which make a batch of 1,024."
    ),
    computed=(
        "Statistics of the batch in both. An accuracy is one of batches of 1,000 images (`HeldOut(chunk=…)`), and training takes the"
        " statistics of the whole batch: those of 128 images each are not an option."
    ),
    claim_ids=(
        "lewkowycz2020.1.cifar-slope",
        "lewkowycz2020.6.cifar-final-published",
        "lewkowycz2020.6.cifar-final-robust",
        "lewkowycz2020.6.wide-final-published",
        "lewkowycz2020.6.wide-final-robust",
    ),
)

CROP = Discrepancy(
    "Where padded images are cut",
    code_says=(
        "Four lines of zeros on each side, then first line and column from 0 to 7. Place 8 is never drawn: images move by half a pixel to"
        " the right and downwards in the mean."
    ),
    computed=(
        "The wide residual network is trained with theirs, `PaddedCrop(4, published=True)`. Without `published` all nine places are drawn."
    ),
    claim_ids=("lewkowycz2020.6.wide-final-published", "lewkowycz2020.6.wide-final-robust"),
)

STANDARDISATION = Discrepancy(
    "How pixels are standardised",
    code_says="Each part by the mean and deviation of its own pixels: test images by statistics of the test set.",
    computed=(
        "CIFAR-10 as in the code, `OVERALL[set, part]`: they differ by 0.013 deviations in the mean. MNIST by one mean and deviation for"
        " both parts, those of the training images."
    ),
    claim_ids=("lewkowycz2020.6.wide-final-published", "lewkowycz2020.6.wide-final-robust"),
)

DISCREPANCIES = (
    NORMALISATION,
    DELAY,
    PHYSICAL,
    TEST_SET,
    WEIGHT_SEED,
    BATCH_STATISTICS,
    CROP,
    STANDARDISATION,
)
"""In the order of the report."""
