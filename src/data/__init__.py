"""From files to batches: readers, records, order, image operations, the pipeline. Nothing here knows the models."""
