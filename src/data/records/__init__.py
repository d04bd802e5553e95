"""MindRecord: the one writer and reader, and the manifest beside the shards."""
