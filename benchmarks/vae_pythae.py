"""Images/s of pythae's trainer on a VAE with the same networks. Runs in pythae's own environment."""

from __future__ import annotations

import json
import tempfile
import time

import setting
import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn


class Encoder(BaseEncoder):
    """The networks of regen.models.layers.encoder, with pythae's two heads."""

    def __init__(self) -> None:
        super().__init__()
        layers, previous = [], 3
        for count in setting.CHANNELS:
            layers += [nn.Conv2d(previous, count, 4, 2, 1, bias=False), nn.BatchNorm2d(count), nn.LeakyReLU(0.2)]
            previous = count
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(previous * 16, 2 * setting.LATENT_DIM)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        """Return pythae's output record."""
        mu, log_variance = self.head(self.body(x)).chunk(2, 1)
        return ModelOutput(embedding=mu, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """The networks of regen.models.layers.decoder."""

    def __init__(self) -> None:
        super().__init__()
        channels = setting.CHANNELS
        layers = [nn.Linear(setting.LATENT_DIM, channels[-1] * 16, bias=False), nn.Unflatten(1, (channels[-1], 4, 4))]
        layers += [nn.BatchNorm2d(channels[-1]), nn.ReLU()]
        for count, following in zip(channels[:0:-1], channels[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(count, following, 4, 2, 1, bias=False), nn.BatchNorm2d(following), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(channels[0], 3, 4, 2, 1), nn.Sigmoid())

    def forward(self, z: torch.Tensor) -> ModelOutput:
        """Return pythae's output record."""
        return ModelOutput(reconstruction=self.body(z))


def main() -> None:
    """Train one warm-up epoch, then one that counts."""
    torch.set_num_threads(setting.THREADS)
    data = torch.from_numpy(setting.images()).permute(0, 3, 1, 2).float().div(255)
    seconds = []
    for _ in range(2):
        model = VAE(VAEConfig(input_dim=(3, 64, 64), latent_dim=setting.LATENT_DIM), Encoder(), Decoder())
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder, num_epochs=1, learning_rate=1e-3, no_cuda=True,
                per_device_train_batch_size=setting.BATCH, per_device_eval_batch_size=setting.BATCH,
            )  # fmt: skip
            dataset = Dataset(data)
            trainer = BaseTrainer(model, dataset, training_config=config)
            trainer.prepare_training()
            start = time.perf_counter()
            trainer.train_step(1)
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"images_per_second": setting.STEPS * setting.BATCH / seconds[-1]}))


class Dataset(torch.utils.data.Dataset):
    """Images as pythae wants them."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data

    def __len__(self) -> int:
        """Number of images."""
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One image by the name pythae reads."""
        return {"data": self.data[index]}


if __name__ == "__main__":
    main()
