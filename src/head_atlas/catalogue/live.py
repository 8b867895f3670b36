"""Effects that are measured on one prompt in the lab: nothing of it is stored in an atlas."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

LIVE_EFFECTS: dict[str, Measure] = by_name(
    [
        Measure(
            name="self_repair",
            label="self-repair",
            kind="effect",
            axes=("layer", "head"),
            unit="logits",
            low=None,
            high=None,
            signed=True,
            formula="(direct logit lost) - (logit difference lost) when z := 0 = total effect - direct effect; norms "
            "frozen, or computed anew",
            source="McGrath et al. 2023; Rushing and Nanda 2024",
            sentence="How much of a removed head's direct share others put back (positive) or pull down with it "
            "(negative).",
            pitfall="With norms frozen, part of the repair is the final norm's alone: compare with the live one.",
            measured_on="the user's prompt",
        ),
        Measure(
            name="patching",
            label="activation patching",
            kind="effect",
            axes=("layer", "head", "position"),
            unit="share of the clean - corrupted difference",
            low=None,
            high=None,
            signed=True,
            formula="(m - m_corrupted) / (m_clean - m_corrupted), m the logit difference or log p(y) of a run with one "
            "place (z, q, k or v of a head; resid_pre, attn_out or mlp_out of a layer) from the other run",
            source="Vig et al. 2020; Meng et al. 2022; Heimersheim and Nanda 2024",
            sentence="Where the difference between two prompts sits: 1 is as in the clean run, 0 as in the corrupted "
            "one, in both directions.",
            pitfall="Denoising shows what is enough, noising what is needed; with backups the two differ. Undefined "
            "where the two prompts' values differ by less than the noise.",
            measured_on="the user's prompt",
        ),
        Measure(
            name="causal_trace",
            label="causal trace",
            kind="effect",
            axes=("layer", "position"),
            unit="share of the clean - corrupted difference",
            low=None,
            high=None,
            signed=True,
            formula="(mean m - mean m_corrupted) / (m_clean - mean m_corrupted) over samples of noise on the subject's "
            "embeddings, sigma = 3 standard deviations of the embedding matrix",
            source="Meng et al. 2022, Locating and Editing Factual Associations in GPT",
            sentence="Which place brings a fact back when it is restored after its subject was drowned in noise.",
            pitfall="Noise takes the model off its usual activations; the size of sigma and the window decide much.",
            measured_on="the user's prompt",
        ),
        Measure(
            name="path_patching",
            label="path patching",
            kind="effect",
            axes=("sender", "receiver"),
            unit="logits or nats",
            low=None,
            high=None,
            signed=True,
            formula="m(receiver's q, k or v as it hears the sender's z from the other run, all other heads held) - m",
            source="Wang et al. 2022, Interpretability in the Wild",
            sentence="How much a head matters to another head's queries, keys or values, by no third head.",
            pitfall="Paths through MLPs count as direct. Joined receivers need not add up to the single ones.",
            measured_on="the user's prompt",
        ),
    ]
)
