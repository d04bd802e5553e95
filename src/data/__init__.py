"""From files to batches: readers, records, order, image operations, the pipeline. Knows no model."""
