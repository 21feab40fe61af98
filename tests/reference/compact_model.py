"""A compact model's safetensors file, run with plain torch: the recipe of the README, without glt."""

import json

import torch
import torch.nn.functional as F
from safetensors import safe_open


def logits(path):
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["glt-compact"])
        t = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    t |= {name: t[other] for name, other in header["same"].items()}  # equal tensors are there once

    def matrix(at, columns):
        ptr, index, values = (t[f"{at}/{k}"] for k in ("ptr", "index", "values"))
        return torch.sparse_csr_tensor(ptr, index, values, (len(ptr) - 1, columns))

    rows, values = header["rows"], []
    dtype = t["x" if "x" in t else "x/values"].dtype
    graph = [matrix(f"graph/{i}", rows) for i in range(len(header["operators"]))]
    for i, step in enumerate(header["steps"]):
        kind, o = step["kind"], step["options"]
        own = {k.split("/")[2]: v for k, v in t.items() if k.startswith(f"step/{i}/")}
        x = [values[j] for j in step["inputs"]]
        if kind == "input":
            out = t["x"] if "x" in t else matrix("x", header["read"])
        elif kind == "linear":
            if "bits" in own:  # one per entry, lowest first; the values of those that are set
                bits = (own["bits"].unsqueeze(1) >> torch.arange(8)) % 2 == 1
                kept = bits.flatten()[: step["width"] * o["columns"]].view(step["width"], o["columns"])
                weight = torch.zeros(kept.shape, dtype=dtype).masked_scatter(kept, own["values"])
            else:
                weight = own["weight"] if "weight" in own else matrix(f"step/{i}", o["columns"]).to_dense()
            out = x[0] @ weight.t() + own.get("bias", 0)
        elif kind == "propagate":
            out = graph[o["graph"]] @ (x[0].to_dense() if x[0].is_sparse_csr else x[0])
        elif kind in ("attend", "attend_dots", "soft_mean"):
            target = torch.repeat_interleave(graph[o["graph"]].crow_indices().diff())
            source = graph[o["graph"]].col_indices().long()
            x = [part.to_dense() if part.is_sparse_csr else part for part in x]
            if kind == "attend":
                score = F.leaky_relu(x[0][source] + x[1][target], o["slope"])
            elif kind == "attend_dots":
                products = (x[0][target] * x[1][source]).split(o["dims"], dim=1)
                score = torch.stack([head.sum(1) for head in products], dim=1)
            else:
                score = x[0][source] * own["t"]
            weight = score.double().exp()
            total = torch.zeros(rows, weight.size(1)).double().index_add(0, target, weight)
            weight = (weight / total[target]).to(dtype)
            if "sizes" in o:
                weight = weight.repeat_interleave(torch.tensor(o["sizes"]), dim=1)
            out = torch.zeros(rows, step["width"], dtype=dtype).index_add(0, target, weight * x[-1][source])
        elif kind == "gate":
            share = x[0].sigmoid()
            out = share * x[1] + (1 - share) * x[2]
        elif kind == "affine":
            out = x[0] * own.get("scale", 1) + own.get("shift", 0)
        elif kind == "function":
            out = getattr(F, o["function"])(x[0], **o["arguments"])
        elif kind == "add":
            out = torch.zeros(rows, step["width"], dtype=dtype) + own.get("shift", 0)
            for n, part in enumerate(x):
                part = part.to_dense() if part.is_sparse_csr else part
                part = part[:, own[f"take_{n}"]] if f"take_{n}" in own else part
                factor = o["factors"][n] if "factors" in o else 1
                out = out.index_add(1, own.get(f"put_{n}", torch.arange(step["width"])), factor * part)
        elif kind == "concatenate":
            out = torch.cat(x, dim=1)
        elif kind == "expand":
            out = own["row"].repeat(rows, 1)
            if x:
                part = x[0].to_dense() if x[0].is_sparse_csr else x[0]
                out[:, own.get("put", torch.arange(step["width"]))] = part[:, own["take"]] if "take" in own else part
        elif o["function"] == "layer_norm":
            out = F.layer_norm(x[0], (step["width"],), own.get("weight"), own.get("bias"), o["eps"])
        else:
            out = getattr(torch, o["function"])(x[0], dim=-1)
        values.append(out)
    out = values[header["output"]]
    return out[t["place"]] if "place" in t else out
