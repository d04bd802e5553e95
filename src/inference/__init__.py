"""Trained models on images, folders and videos."""
