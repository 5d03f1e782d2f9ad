"""VLMEvalKit with SPY-Bench: `python run.py --data SPYBench MMMU --model Qwen2-VL-7B`."""

import sys

from spy_plugin.hosts.vlmeval.run import main

if __name__ == "__main__":
    sys.exit(main())
