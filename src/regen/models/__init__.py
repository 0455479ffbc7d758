"""Networks, trained by gradient steps. They know no loader, no folder and no training."""
