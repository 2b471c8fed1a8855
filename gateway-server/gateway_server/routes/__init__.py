"""The public addresses. They translate HTTP and nothing else."""
