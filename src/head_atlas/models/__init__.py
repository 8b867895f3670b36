"""Loading models, and reaching their heads. No metrics."""

from head_atlas.models.checks import Check as Check
from head_atlas.models.head_model import HeadModel as HeadModel
from head_atlas.models.intervention import Intervention as Intervention
from head_atlas.models.loading import load_model as load_model
from head_atlas.models.readers import PatternReader as PatternReader
