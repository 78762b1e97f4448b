"""llama.cpp's own HTTP server, out of the xllamacpp wheel.

usage: serve_llamacpp.py GGUF PORT MODEL_NAME
"""

import sys
import threading

import xllamacpp

path, port, name = sys.argv[1:4]
params = xllamacpp.CommonParams()
params.model.path = path
params.model_alias = {name}
params.hostnames = ["127.0.0.1"]
params.port = int(port)
params.n_ctx = 8192  # shared by the two slots: 4,096 tokens each, which is all the model has
params.n_parallel = 2
params.cpuparams.n_threads = 1
params.endpoint_metrics = True
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
threading.Event().wait()
