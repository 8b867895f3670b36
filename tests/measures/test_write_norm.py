from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas.measures.write_norm import write_norm
from head_atlas.models.readers import Trace
from tiny_models import head_model, random_prompts


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_it_is_the_mean_length_of_what_each_head_adds(family):
    model, prompts = head_model(family, torch.float64), random_prompts([(7, (6,)), (5, (4,)), (1, (0,))])
    found = write_norm(model, prompts)
    assert found.dims == ("layer", "head", "prompt")
    for index, prompt in enumerate(prompts[:2]):
        trace = Trace()
        with model.intervening(trace):
            model.logits(model.rows([prompt.tokens]), torch.zeros(1, 1, dtype=torch.long))
        for layer in range(model.n_layers):
            weight, _ = model.output_weights(layer)
            for head in range(model.n_heads):
                lengths = [float((trace.z[layer][0, i, head] @ weight[head]).norm()) for i in range(1, len(prompt))]
                assert found.values[layer, head, index] == pytest.approx(np.mean(lengths), rel=1e-9)
    assert np.isnan(found.values[..., 2]).all()
