"""Further reading: the papers behind the measures and the chapters, and who wrote many of them. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One reference.

    Attributes:
        authors: as the paper names them; "et al." after the first ones of many.
        year: of the first publication.
        title: in full.
        venue: where it appeared.
        url: of the paper.
        why: what it is read for here, in a few words.
    """

    authors: str
    year: int
    title: str
    venue: str
    url: str
    why: str = ""

    @property
    def first(self) -> str:
        """Family name of the first author."""
        return self.authors.split(",")[0].split(" and ")[0].split()[-1]


@dataclass(frozen=True)
class Group:
    """A research group: its name, its site, and one sentence."""

    name: str
    url: str
    sentence: str


def _arxiv(number: str) -> str:
    return f"https://arxiv.org/abs/{number}"


PAPERS: dict[str, Paper] = {
    "bricken2023": Paper(
        "Trenton Bricken, Adly Templeton, Joshua Batson et al.", 2023,
        "Towards Monosemanticity: Decomposing Language Models With Dictionary Learning", "Transformer Circuits Thread",
        "https://transformer-circuits.pub/2023/monosemantic-features", "dictionary learning on a small model",
    ),
    "clark2019": Paper(
        "Kevin Clark, Urvashi Khandelwal, Omer Levy, Christopher D. Manning", 2019,
        "What Does BERT Look At? An Analysis of BERT’s Attention", "BlackboxNLP at ACL 2019", _arxiv("1906.04341"),
        "heads that follow grammar, and heads that rest",
    ),
    "conmy2023": Paper(
        "Arthur Conmy, Augustine N. Mavor-Parker, Aengus Lynch, Stefan Heimersheim, Adrià Garriga-Alonso", 2023,
        "Towards Automated Circuit Discovery for Mechanistic Interpretability", "NeurIPS 2023", _arxiv("2304.14997"),
        "finding circuits by search",
    ),
    "elhage2021": Paper(
        "Nelson Elhage, Neel Nanda, Catherine Olsson et al.", 2021,
        "A Mathematical Framework for Transformer Circuits", "Transformer Circuits Thread",
        "https://transformer-circuits.pub/2021/framework/index.html", "residual stream, QK and OV circuits, "
        "composition",
    ),
    "elhage2022": Paper(
        "Nelson Elhage, Tristan Hume, Catherine Olsson et al.", 2022, "Toy Models of Superposition",
        "Transformer Circuits Thread", "https://transformer-circuits.pub/2022/toy_model/index.html", "superposition",
    ),
    "gao2015": Paper(
        "Peiran Gao and Surya Ganguli", 2015,
        "On simplicity and complexity in the brave new world of large-scale neuroscience",
        "Current Opinion in Neurobiology 32, 148–155", _arxiv("1503.08779"), "the participation ratio",
    ),
    "gould2023": Paper(
        "Rhys Gould, Euan Ong, George Ogden, Arthur Conmy", 2023,
        "Successor Heads: Recurring, Interpretable Attention Heads In The Wild", "ICLR 2024", _arxiv("2312.09230"),
        "heads that count on",
    ),
    "heimersheim2024": Paper(
        "Stefan Heimersheim and Neel Nanda", 2024, "How to use and interpret activation patching", "arXiv",
        _arxiv("2404.15255"), "patching, and how it misleads",
    ),
    "jain2019": Paper(
        "Sarthak Jain and Byron C. Wallace", 2019, "Attention is not Explanation", "NAACL 2019", _arxiv("1902.10186"),
        "why looking is not using",
    ),
    "knijnenburg2009": Paper(
        "Theo A. Knijnenburg, Lodewyk F. A. Wessels, Marcel J. T. Reinders, Ilya Shmulevich", 2009,
        "Fewer permutations, more accurate P-values", "Bioinformatics 25, i161–i168",
        "https://doi.org/10.1093/bioinformatics/btp211", "p values in the tail of a null",
    ),
    "kobayashi2020": Paper(
        "Goro Kobayashi, Tatsuki Kuribayashi, Sho Yokoi, Kentaro Inui", 2020,
        "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms", "EMNLP 2020", _arxiv("2004.10102"),
        "attention weighted by what is written",
    ),
    "kullback1951": Paper(
        "Solomon Kullback and Richard A. Leibler", 1951, "On Information and Sufficiency",
        "The Annals of Mathematical Statistics 22(1), 79–86", "https://doi.org/10.1214/aoms/1177729694",
        "KL divergence",
    ),
    "li2016": Paper(
        "Jiwei Li, Will Monroe, Dan Jurafsky", 2016, "Understanding Neural Networks through Representation Erasure",
        "arXiv", _arxiv("1612.08220"), "occlusion of words",
    ),
    "luger2026": Paper(
        "R. Luger, Harish Kamath, Doug Finkbeiner et al.", 2026,
        "HeadVis: An Interactive Tool For Investigating Attention Heads", "Transformer Circuits Thread (Anthropic)",
        "https://transformer-circuits.pub/2026/headvis/index.html", "exemplars of heads",
    ),
    "mcdougall2023": Paper(
        "Callum McDougall, Arthur Conmy, Cody Rushing, Thomas McGrath, Neel Nanda", 2023,
        "Copy Suppression: Comprehensively Understanding an Attention Head", "arXiv", _arxiv("2310.04625"),
        "one head, its whole role",
    ),
    "mcgrath2023": Paper(
        "Thomas McGrath, Matthew Rahtz, Janos Kramar, Vladimir Mikulik, Shane Legg", 2023,
        "The Hydra Effect: Emergent Self-repair in Language Model Computations", "arXiv", _arxiv("2307.15771"),
        "backup",
    ),
    "meng2022": Paper(
        "Kevin Meng, David Bau, Alex Andonian, Yonatan Belinkov", 2022,
        "Locating and Editing Factual Associations in GPT", "NeurIPS 2022", _arxiv("2202.05262"),
        "causal tracing; where facts sit",
    ),
    "michel2019": Paper(
        "Paul Michel, Omer Levy, Graham Neubig", 2019, "Are Sixteen Heads Really Better than One?", "NeurIPS 2019",
        _arxiv("1905.10650"), "removing heads one by one",
    ),
    "nostalgebraist2020": Paper(
        "nostalgebraist", 2020, "interpreting GPT: the logit lens", "LessWrong",
        "https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens", "the logit lens",
    ),
    "olsson2022": Paper(
        "Catherine Olsson, Nelson Elhage, Neel Nanda et al.", 2022, "In-context Learning and Induction Heads",
        "Transformer Circuits Thread",
        "https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html", "induction heads",
    ),
    "phipson2010": Paper(
        "Belinda Phipson and Gordon K. Smyth", 2010,
        "Permutation P-values Should Never Be Zero: Calculating Exact P-values When Permutations Are Randomly Drawn",
        "Statistical Applications in Genetics and Molecular Biology 9(1), 39", "https://doi.org/10.2202/1544-6115.1585",
        "chance levels",
    ),
    "roy2007": Paper(
        "Olivier Roy and Martin Vetterli", 2007, "The effective rank: A measure of effective dimensionality",
        "EUSIPCO 2007", "https://ieeexplore.ieee.org/document/7098875", "effective rank",
    ),
    "rushing2024": Paper(
        "Cody Rushing and Neel Nanda", 2024, "Explorations of Self-Repair in Language Models", "ICML 2024",
        _arxiv("2402.15390"), "backup, measured",
    ),
    "shrikumar2016": Paper(
        "Avanti Shrikumar, Peyton Greenside, Anna Shcherbina, Anshul Kundaje", 2016,
        "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences", "arXiv",
        _arxiv("1605.01713"), "gradient × input",
    ),
    "simonyan2013": Paper(
        "Karen Simonyan, Andrea Vedaldi, Andrew Zisserman", 2013,
        "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps", "arXiv",
        _arxiv("1312.6034"), "saliency",
    ),
    "sundararajan2017": Paper(
        "Mukund Sundararajan, Ankur Taly, Qiqi Yan", 2017, "Axiomatic Attribution for Deep Networks", "ICML 2017",
        _arxiv("1703.01365"), "integrated gradients",
    ),
    "vaswani2017": Paper(
        "Ashish Vaswani, Noam Shazeer, Niki Parmar et al.", 2017, "Attention Is All You Need", "NeurIPS 2017",
        _arxiv("1706.03762"), "the transformer",
    ),
    "vig2019": Paper(
        "Jesse Vig and Yonatan Belinkov", 2019,
        "Analyzing the Structure of Attention in a Transformer Language Model", "BlackboxNLP at ACL 2019",
        _arxiv("1906.04284"), "where heads look, by distance",
    ),
    "vig2020": Paper(
        "Jesse Vig, Sebastian Gehrmann, Yonatan Belinkov et al.", 2020,
        "Investigating Gender Bias in Language Models Using Causal Mediation Analysis", "NeurIPS 2020",
        "https://proceedings.neurips.cc/paper/2020/hash/92650b2e92217715fe312e6fa7b90d82-Abstract.html",
        "interventions as mediation",
    ),
    "voita2019": Paper(
        "Elena Voita, David Talbot, Fedor Moiseev, Rico Sennrich, Ivan Titov", 2019,
        "Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy Lifting, the Rest Can Be Pruned",
        "ACL 2019", _arxiv("1905.09418"), "specialised heads",
    ),
    "wang2022": Paper(
        "Kevin Wang, Alexandre Variengien, Arthur Conmy, Buck Shlegeris, Jacob Steinhardt", 2022,
        "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small", "ICLR 2023",
        _arxiv("2211.00593"), "a whole circuit, with its backups",
    ),
    "xiao2023": Paper(
        "Guangxuan Xiao, Yuandong Tian, Beidi Chen, Song Han, Mike Lewis", 2023,
        "Efficient Streaming Language Models with Attention Sinks", "ICLR 2024", _arxiv("2309.17453"), "attention "
        "sinks",
    ),
    "zeiler2014": Paper(
        "Matthew D. Zeiler and Rob Fergus", 2014, "Visualizing and Understanding Convolutional Networks", "ECCV 2014",
        _arxiv("1311.2901"), "occlusion",
    ),
    "zou2008": Paper(
        "Guang Yong Zou and Allan Donner", 2008,
        "Construction of confidence limits about effect measures: A general approach",
        "Statistics in Medicine 27, 1693–1702", "https://doi.org/10.1002/sim.3095", "intervals of differences",
    ),
}  # fmt: skip
"""By first author and year."""

GROUPS_OF_RESEARCH: tuple[Group, ...] = (
    Group("Anthropic", "https://transformer-circuits.pub/",
          "Its interpretability team publishes the Transformer Circuits Thread, where induction heads, superposition "
          "and dictionary learning were worked out for language models."),
    Group("EleutherAI", "https://www.eleuther.ai/",
          "A non-profit that trains and studies open models; its Pythia models come with their training checkpoints, "
          "so that one can watch heads form."),
    Group("Redwood Research", "https://www.redwoodresearch.org/",
          "A non-profit for AI safety; the circuit for indirect objects in GPT-2 small, and path patching, came from "
          "work there."),
    Group("Google DeepMind", "https://deepmind.google/",
          "Its interpretability researchers study, among others, self-repair and sparse autoencoders, and published "
          "the Gemma Scope autoencoders."),
)  # fmt: skip
