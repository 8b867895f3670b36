"""The papers that Head Atlas rests on or points to: one entry each, and how each entry was checked. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

_ARXIV = "https://arxiv.org/abs/"


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
        seen: where this entry's fields were confirmed: in the text itself, or in what others cite it as.
        unsure: which of its fields could not be confirmed, or "".
    """

    authors: str
    year: int
    title: str
    venue: str
    url: str
    why: str
    seen: str
    unsure: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Family names of the authors that are listed."""
        listed = self.authors.removesuffix(" et al.").replace(" and ", ", ").split(", ")
        return tuple(name.split()[-1] for name in listed)

    @property
    def first(self) -> str:
        """Family name of the first author."""
        return self.names[0]

    @property
    def short(self) -> str:
        """As a text cites it: authors, year, and the title up to its colon."""
        who = self.first
        if len(self.names) > 2 or self.authors.endswith("et al."):
            who = f"{who} et al."
        elif len(self.names) == 2:
            who = " and ".join(self.names)
        return f"{who} {self.year}, {self.title.split(':')[0]}"

    @property
    def arxiv(self) -> str:
        """Its number there, or ""."""
        return self.url.removeprefix(_ARXIV) if self.url.startswith(_ARXIV) else ""


def _arxiv(number: str) -> str:
    return f"{_ARXIV}{number}"


_THREAD = "Transformer Circuits Thread"
_LISTS = "cited with these fields in several reference lists"
_NUMBER = f"{_LISTS}, the arXiv number among them"

PAPERS: dict[str, Paper] = {
    "belrose2023": Paper(
        "Nora Belrose, Igor Ostrovsky, Lev McKinney, Zach Furman, Logan Smith, Danny Halawi, Stella Biderman, Jacob "
        "Steinhardt", 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens", "arXiv",
        _arxiv("2303.08112"), "why the logit lens misreads early layers", _NUMBER,
    ),
    "benjamini1995": Paper(
        "Yoav Benjamini and Yosef Hochberg", 1995,
        "Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing",
        "Journal of the Royal Statistical Society, Series B 57(1), 289–300",
        "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x", "many tests at once", f"{_LISTS}, with pages and DOI",
    ),
    "benjamini2001": Paper(
        "Yoav Benjamini and Daniel Yekutieli", 2001,
        "The Control of the False Discovery Rate in Multiple Testing under Dependency",
        "The Annals of Statistics 29(4), 1165–1188", "https://doi.org/10.1214/aos/1013699998",
        "many tests that hang together", f"{_LISTS}, with pages and DOI",
    ),
    "biderman2023": Paper(
        "Stella Biderman, Hailey Schoelkopf, Quentin Anthony et al.", 2023,
        "Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling", "ICML 2023",
        _arxiv("2304.01373"), "open models with all their checkpoints", _NUMBER,
    ),
    "bricken2023": Paper(
        "Trenton Bricken, Adly Templeton, Joshua Batson et al.", 2023,
        "Towards Monosemanticity: Decomposing Language Models With Dictionary Learning", _THREAD,
        "https://transformer-circuits.pub/2023/monosemantic-features/index.html", "dictionary learning on a small "
        "model", f"{_LISTS}, with the address",
    ),
    "chan2022": Paper(
        "Lawrence Chan, Adrià Garriga-Alonso, Nicholas Goldowsky-Dill et al.", 2022,
        "Causal Scrubbing: a method for rigorously testing interpretability hypotheses", "Alignment Forum",
        "https://www.alignmentforum.org/posts/JvZhhzycHu2Yd57RN/causal-scrubbing-a-method-for-rigorously-testing",
        "testing a whole explanation at once", "the citation that the post asks for; reference lists", "the first "
        "author’s given name",
    ),
    "clark2019": Paper(
        "Kevin Clark, Urvashi Khandelwal, Omer Levy, Christopher D. Manning", 2019,
        "What Does BERT Look At? An Analysis of BERT’s Attention", "BlackboxNLP at ACL 2019, 276–286",
        _arxiv("1906.04341"), "heads that follow grammar, and heads that rest", f"the authors' code; {_NUMBER}",
    ),
    "conmy2023": Paper(
        "Arthur Conmy, Augustine N. Mavor-Parker, Aengus Lynch, Stefan Heimersheim, Adrià Garriga-Alonso", 2023,
        "Towards Automated Circuit Discovery for Mechanistic Interpretability", "NeurIPS 2023", _arxiv("2304.14997"),
        "finding circuits by search", _NUMBER,
    ),
    "cunningham2023": Paper(
        "Hoagy Cunningham, Aidan Ewart, Logan Riggs, Robert Huben, Lee Sharkey", 2023,
        "Sparse Autoencoders Find Highly Interpretable Features in Language Models", "ICLR 2024",
        _arxiv("2309.08600"), "dictionary learning with sparse autoencoders", _NUMBER,
    ),
    "deyoung2020": Paper(
        "Jay DeYoung, Sarthak Jain, Nazneen Fatema Rajani, Eric Lehman, Caiming Xiong, Richard Socher, Byron C. "
        "Wallace", 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models", "ACL 2020", _arxiv("1911.03429"),
        "whether an attribution names the right words", _NUMBER,
        "given names beyond initials of the third and later authors",
    ),
    "elhage2021": Paper(
        "Nelson Elhage, Neel Nanda, Catherine Olsson et al.", 2021,
        "A Mathematical Framework for Transformer Circuits", _THREAD,
        "https://transformer-circuits.pub/2021/framework/index.html", "residual stream, QK and OV circuits, "
        "composition", f"{_LISTS}, with all authors and the address",
    ),
    "elhage2022": Paper(
        "Nelson Elhage, Tristan Hume, Catherine Olsson et al.", 2022, "Toy Models of Superposition", _THREAD,
        "https://transformer-circuits.pub/2022/toy_model/index.html", "superposition", "the citation that its code "
        "asks for; reference lists",
    ),
    "gao2017": Paper(
        "Peiran Gao, Eric Trautmann, Byron Yu, Gopal Santhanam, Stephen Ryu, Krishna Shenoy, Surya Ganguli", 2017,
        "A theory of multineuronal dimensionality, dynamics and measurement", "bioRxiv 214262",
        "https://doi.org/10.1101/214262", "the participation ratio", f"{_LISTS} and as the source of the "
        "participation ratio, with the DOI",
    ),
    "geva2021": Paper(
        "Mor Geva, Roei Schuster, Jonathan Berant, Omer Levy", 2021,
        "Transformer Feed-Forward Layers Are Key-Value Memories", "EMNLP 2021", _arxiv("2012.14913"),
        "what MLPs might store", _NUMBER,
    ),
    "geva2023": Paper(
        "Mor Geva, Jasmijn Bastings, Katja Filippova, Amir Globerson", 2023,
        "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", "EMNLP 2023",
        _arxiv("2304.14767"), "how heads carry a fact to the end", _NUMBER,
    ),
    "goldowskydill2023": Paper(
        "Nicholas Goldowsky-Dill, Chris MacLeod, Lucas Sato, Aryaman Arora", 2023,
        "Localizing Model Behavior with Path Patching", "arXiv", _arxiv("2304.05969"), "path patching", _NUMBER,
        "the last author's given name",
    ),
    "gould2023": Paper(
        "Rhys Gould, Euan Ong, George Ogden, Arthur Conmy", 2023,
        "Successor Heads: Recurring, Interpretable Attention Heads In The Wild", "ICLR 2024", _arxiv("2312.09230"),
        "heads that count on", f"the paper's first page; {_NUMBER}",
    ),
    "gould2023b": Paper(
        "Rhys Gould, Elizabeth Ho, Will Harpur-Davies, Andy Zhou, Arthur Conmy", 2023,
        "Mechanistically interpreting time in GPT-2 small", "LessWrong",
        "https://www.lesswrong.com/posts/6tHNM2s6SWzFHv3Wo/mechanistically-interpreting-time-in-gpt-2-small",
        "one head that finds the next day", "the head of the post, which names its authors",
    ),
    "grabisch1999": Paper(
        "Michel Grabisch and Marc Roubens", 1999,
        "An axiomatic approach to the concept of interaction among players in cooperative games",
        "International Journal of Game Theory 28(4), 547–565", "https://doi.org/10.1007/s001820050125",
        "interaction of two parts", f"{_LISTS}, with pages and DOI",
    ),
    "gurnee2023": Paper(
        "Wes Gurnee, Neel Nanda, Matthew Pauly, Katherine Harvey, Dmitrii Troitskii, Dimitris Bertsimas", 2023,
        "Finding Neurons in a Haystack: Case Studies with Sparse Probing", "Transactions on Machine Learning Research",
        _arxiv("2305.01610"), "what single neurons stand for", _NUMBER,
    ),
    "hanna2023": Paper(
        "Michael Hanna, Ollie Liu, Alexandre Variengien", 2023,
        "How does GPT-2 compute greater-than?: Interpreting mathematical abilities in a pre-trained language model",
        "NeurIPS 2023", _arxiv("2305.00586"), "a circuit for years", "the citation in the authors' code release",
    ),
    "hase2023": Paper(
        "Peter Hase, Mohit Bansal, Been Kim, Asma Ghandeharioun", 2023,
        "Does Localization Inform Editing? Surprising Differences in Causality-Based Localization vs. Knowledge "
        "Editing in Language Models", "NeurIPS 2023", _arxiv("2301.04213"), "a caution: where a fact passes is not "
        "where it is best changed", _NUMBER,
    ),
    "heimersheim2023": Paper(
        "Stefan Heimersheim and Jett Janiak", 2023,
        "A circuit for Python docstrings in a 4-layer attention-only transformer", "Alignment Forum",
        "https://www.alignmentforum.org/posts/u6KXXmKFbXfWzoAXn/a-circuit-for-python-docstrings-in-a-4-layer-attention"
        "-only", "a circuit for argument names", f"{_LISTS}, with the address",
    ),
    "heimersheim2024": Paper(
        "Stefan Heimersheim and Neel Nanda", 2024, "How to use and interpret activation patching", "arXiv",
        _arxiv("2404.15255"), "patching, and how it misleads", _NUMBER,
    ),
    "hosking1987": Paper(
        "J. R. M. Hosking and J. R. Wallis", 1987,
        "Parameter and Quantile Estimation for the Generalized Pareto Distribution", "Technometrics 29(3), 339–349",
        "https://doi.org/10.1080/00401706.1987.10488243", "the tail of a null", f"{_LISTS}, with pages and DOI",
    ),
    "jain2019": Paper(
        "Sarthak Jain and Byron C. Wallace", 2019, "Attention is not Explanation", "NAACL 2019, 3543–3556",
        _arxiv("1902.10186"), "why looking is not using", _NUMBER,
    ),
    "janiak2023": Paper(
        "Jett Janiak, Chris Mathwin, Stefan Heimersheim", 2023,
        "Polysemantic Attention Head in a 4-Layer Transformer", "LessWrong",
        "https://www.lesswrong.com/posts/nuJFTS5iiJKT5G5yh/polysemantic-attention-head-in-a-4-layer-transformer",
        "one head, several jobs", "one reference list, with the address",
    ),
    "knijnenburg2009": Paper(
        "Theo A. Knijnenburg, Lodewyk F. A. Wessels, Marcel J. T. Reinders, Ilya Shmulevich", 2009,
        "Fewer permutations, more accurate P-values", "Bioinformatics 25(12), i161–i168",
        "https://doi.org/10.1093/bioinformatics/btp211", "p values in the tail of a null", f"{_LISTS}, with pages and "
        "DOI", "given names beyond initials",
    ),
    "kobayashi2020": Paper(
        "Goro Kobayashi, Tatsuki Kuribayashi, Sho Yokoi, Kentaro Inui", 2020,
        "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms", "EMNLP 2020, 7057–7075",
        _arxiv("2004.10102"), "attention weighted by what is written", _NUMBER,
    ),
    "kramar2024": Paper(
        "János Kramár, Tom Lieberum, Rohin Shah, Neel Nanda", 2024,
        "AtP*: An efficient and scalable method for localizing LLM behaviour to components", "arXiv",
        _arxiv("2403.00745"), "when attribution patching is wrong", _NUMBER,
    ),
    "kullback1951": Paper(
        "Solomon Kullback and Richard A. Leibler", 1951, "On Information and Sufficiency",
        "The Annals of Mathematical Statistics 22(1), 79–86", "https://doi.org/10.1214/aoms/1177729694",
        "KL divergence", f"{_LISTS}, with pages and DOI",
    ),
    "li2016": Paper(
        "Jiwei Li, Will Monroe, Dan Jurafsky", 2016, "Understanding Neural Networks through Representation Erasure",
        "arXiv", _arxiv("1612.08220"), "occlusion of words", _NUMBER,
    ),
    "lieberum2024": Paper(
        "Tom Lieberum, Senthooran Rajamanoharan, Arthur Conmy et al.", 2024,
        "Gemma Scope: Open Sparse Autoencoders Everywhere All At Once on Gemma 2", "BlackboxNLP at EMNLP 2024",
        _arxiv("2408.05147"), "open dictionaries for an open model", _NUMBER,
    ),
    "luger2026": Paper(
        "Luger, Kamath et al.", 2026, "HeadVis: An Interactive Tool For Investigating Attention Heads", _THREAD,
        "https://transformer-circuits.pub/2026/headvis/index.html", "exemplars of heads; polysemantic heads",
        "the text of the article; its authors as another tool that builds on it names them", "given names, and the "
        "authors after the second",
    ),
    "makelov2023": Paper(
        "Aleksandar Makelov, Georg Lange, Neel Nanda", 2023,
        "Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace Activation Patching",
        "ICLR 2024", _arxiv("2311.17030"), "a patch that works for the wrong reason", _NUMBER,
        "given names beyond initials of the first two authors",
    ),
    "mcdougall2023": Paper(
        "Callum McDougall, Arthur Conmy, Cody Rushing, Thomas McGrath, Neel Nanda", 2023,
        "Copy Suppression: Comprehensively Understanding an Attention Head", "arXiv; at BlackboxNLP 2024 as “… a Motif "
        "in Language Model Attention Heads”", _arxiv("2310.04625"), "one head, its whole role", f"its abstract; "
        f"{_NUMBER}",
    ),
    "mcdougall2023b": Paper(
        "Callum McDougall et al.", 2023, "ARENA 2.0: Chapter 1, exercises and solutions on mechanistic "
        "interpretability", "course on GitHub", "https://github.com/callummcdougall/ARENA_2.0",
        "induction heads of GPT-2 small, listed", "the file chapter1_transformers/exercises/part2_intro_to_mech_interp/"
        "solutions.py of that repository", "the authors after the first",
    ),
    "mcgrath2023": Paper(
        "Thomas McGrath, Matthew Rahtz, János Kramár, Vladimir Mikulik, Shane Legg", 2023,
        "The Hydra Effect: Emergent Self-repair in Language Model Computations", "arXiv", _arxiv("2307.15771"),
        "backup", _NUMBER,
    ),
    "meng2022": Paper(
        "Kevin Meng, David Bau, Alex Andonian, Yonatan Belinkov", 2022,
        "Locating and Editing Factual Associations in GPT", "NeurIPS 2022", _arxiv("2202.05262"),
        "causal tracing; where facts sit", _NUMBER,
    ),
    "merullo2023": Paper(
        "Jack Merullo, Carsten Eickhoff, Ellie Pavlick", 2023,
        "Circuit Component Reuse Across Tasks in Transformer Language Models", "ICLR 2024", _arxiv("2310.08744"),
        "the circuit for indirect objects, in a larger model", f"its first page; {_NUMBER}",
    ),
    "merullo2024": Paper(
        "Jack Merullo, Carsten Eickhoff, Ellie Pavlick", 2024,
        "Talking Heads: Understanding Inter-layer Communication in Transformer Language Models", "NeurIPS 2024",
        _arxiv("2406.09519"), "composition, read from weights", f"its abstract; {_NUMBER}",
    ),
    "michel2019": Paper(
        "Paul Michel, Omer Levy, Graham Neubig", 2019, "Are Sixteen Heads Really Better than One?",
        "NeurIPS 2019, 14014–14024", _arxiv("1905.10650"), "removing heads one by one", _NUMBER,
    ),
    "nanda2023": Paper(
        "Neel Nanda", 2023, "Attribution Patching: Activation Patching At Industrial Scale", "neelnanda.io",
        "https://www.neelnanda.io/mechanistic-interpretability/attribution-patching", "attribution patching",
        f"{_LISTS}, with the address", "the year, which some lists give as 2022",
    ),
    "nostalgebraist2020": Paper(
        "nostalgebraist", 2020, "interpreting GPT: the logit lens", "LessWrong",
        "https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens", "the logit lens",
        f"{_LISTS}, with the address",
    ),
    "olah2020": Paper(
        "Chris Olah, Nick Cammarata, Ludwig Schubert, Gabriel Goh, Michael Petrov, Shan Carter", 2020,
        "Zoom In: An Introduction to Circuits", "Distill 5(3)", "https://distill.pub/2020/circuits/zoom-in/",
        "circuits; a neuron for cats and for cars", f"its text; {_LISTS}",
    ),
    "olsson2022": Paper(
        "Catherine Olsson, Nelson Elhage, Neel Nanda et al.", 2022, "In-context Learning and Induction Heads",
        _THREAD, "https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html",
        "induction heads", "the citation that the article asks for",
    ),
    "petsiuk2018": Paper(
        "Vitali Petsiuk, Abir Das, Kate Saenko", 2018,
        "RISE: Randomized Input Sampling for Explanation of Black-box Models", "BMVC 2018", _arxiv("1806.07421"),
        "deletion curves", _NUMBER,
    ),
    "phipson2010": Paper(
        "Belinda Phipson and Gordon K. Smyth", 2010,
        "Permutation P-values Should Never Be Zero: Calculating Exact P-values When Permutations Are Randomly Drawn",
        "Statistical Applications in Genetics and Molecular Biology 9(1), 39", "https://doi.org/10.2202/1544-6115.1585",
        "chance levels", f"{_LISTS}, with volume and DOI", "given names beyond initials",
    ),
    "roy2007": Paper(
        "Olivier Roy and Martin Vetterli", 2007, "The effective rank: A measure of effective dimensionality",
        "EUSIPCO 2007, 606–610", "https://ieeexplore.ieee.org/document/7098875", "effective rank",
        f"{_LISTS}, with pages and the address",
    ),
    "rushing2024": Paper(
        "Cody Rushing and Neel Nanda", 2024, "Explorations of Self-Repair in Language Models",
        "ICML 2024, PMLR 235, 42836–42855", _arxiv("2402.15390"), "backup, measured", _NUMBER,
    ),
    "sanyal2021": Paper(
        "Soumya Sanyal and Xiang Ren", 2021, "Discretized Integrated Gradients for Explaining Language Models",
        "EMNLP 2021", _arxiv("2108.13654"), "integrated gradients along real words", _NUMBER,
    ),
    "shrikumar2016": Paper(
        "Avanti Shrikumar, Peyton Greenside, Anna Shcherbina, Anshul Kundaje", 2016,
        "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences", "arXiv",
        _arxiv("1605.01713"), "gradient × input", _NUMBER,
    ),
    "simonyan2013": Paper(
        "Karen Simonyan, Andrea Vedaldi, Andrew Zisserman", 2013,
        "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps",
        "ICLR 2014 workshop", _arxiv("1312.6034"), "saliency", _NUMBER,
    ),
    "sundararajan2017": Paper(
        "Mukund Sundararajan, Ankur Taly, Qiqi Yan", 2017, "Axiomatic Attribution for Deep Networks",
        "ICML 2017, 3319–3328", _arxiv("1703.01365"), "integrated gradients", _NUMBER,
    ),
    "syed2023": Paper(
        "Aaquib Syed, Can Rager, Arthur Conmy", 2023,
        "Attribution Patching Outperforms Automated Circuit Discovery", "BlackboxNLP 2024, 407–416",
        _arxiv("2310.10348"), "attribution patching along edges", _NUMBER,
    ),
    "vaswani2017": Paper(
        "Ashish Vaswani, Noam Shazeer, Niki Parmar et al.", 2017, "Attention Is All You Need", "NeurIPS 2017",
        _arxiv("1706.03762"), "the transformer", _NUMBER,
    ),
    "vig2019": Paper(
        "Jesse Vig and Yonatan Belinkov", 2019,
        "Analyzing the Structure of Attention in a Transformer Language Model", "BlackboxNLP at ACL 2019, 63–76",
        _arxiv("1906.04284"), "where the heads of GPT-2 look, by distance", f"its text; {_NUMBER}",
    ),
    "vig2020": Paper(
        "Jesse Vig, Sebastian Gehrmann, Yonatan Belinkov, Sharon Qian, Daniel Nevo, Yaron Singer, Stuart Shieber", 2020,
        "Investigating Gender Bias in Language Models Using Causal Mediation Analysis", "NeurIPS 2020, 12388–12401",
        "https://proceedings.neurips.cc/paper/2020/hash/92650b2e92217715fe312e6fa7b90d82-Abstract.html",
        "interventions as mediation", f"{_LISTS}, with pages and the address",
    ),
    "voita2019": Paper(
        "Elena Voita, David Talbot, Fedor Moiseev, Rico Sennrich, Ivan Titov", 2019,
        "Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy Lifting, the Rest Can Be Pruned",
        "ACL 2019, 5797–5808", _arxiv("1905.09418"), "specialised heads", _NUMBER,
    ),
    "wang2022": Paper(
        "Kevin Wang, Alexandre Variengien, Arthur Conmy, Buck Shlegeris, Jacob Steinhardt", 2022,
        "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small", "ICLR 2023",
        _arxiv("2211.00593"), "a whole circuit, with its backups", f"its text; {_NUMBER}",
    ),
    "wiegreffe2019": Paper(
        "Sarah Wiegreffe and Yuval Pinter", 2019, "Attention is not not Explanation", "EMNLP 2019",
        _arxiv("1908.04626"), "the other side of that dispute", _NUMBER,
    ),
    "xiao2023": Paper(
        "Guangxuan Xiao, Yuandong Tian, Beidi Chen, Song Han, Mike Lewis", 2023,
        "Efficient Streaming Language Models with Attention Sinks", "ICLR 2024", _arxiv("2309.17453"), "attention "
        "sinks", _NUMBER,
    ),
    "zeiler2014": Paper(
        "Matthew D. Zeiler and Rob Fergus", 2014, "Visualizing and Understanding Convolutional Networks",
        "ECCV 2014, 818–833", _arxiv("1311.2901"), "occlusion", _NUMBER,
    ),
    "zhang2023": Paper(
        "Fred Zhang and Neel Nanda", 2023,
        "Towards Best Practices of Activation Patching in Language Models: Metrics and Methods", "ICLR 2024",
        _arxiv("2309.16042"), "how metric and corruption change what patching finds", _NUMBER,
        "the first author's given name",
    ),
    "zou2008": Paper(
        "Guang Yong Zou and Allan Donner", 2008,
        "Construction of confidence limits about effect measures: A general approach",
        "Statistics in Medicine 27, 1693–1702", "https://doi.org/10.1002/sim.3095", "intervals of differences",
        f"{_LISTS}, with pages and DOI", "given names beyond initials",
    ),
}  # fmt: skip
"""By first author and year; a letter after it where one year has two."""
