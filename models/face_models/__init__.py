"""Reunite's face models: a photo goes in; faces, embeddings and heatmaps come out."""
