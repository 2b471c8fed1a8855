"""Fits what face_models/calibration.py reads, and puts it to the test."""
