"""MLflow's server reads and writes an S3 store for its clients.

Left alone it sends them to the store itself, by the address at which the server knows it (`http://store:8333`), where they
wait for minutes and then fail. `deploy/serve` names this class to MLflow as a plugin.
"""

from __future__ import annotations

from typing import Any

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository


class Proxied(ArtifactRepository):
    """An S3 store that only the server speaks to: it is none of the kinds whose addresses MLflow signs for clients."""

    def __init__(self, artifact_uri: str, **options: Any) -> None:
        super().__init__(artifact_uri, **options)
        self.store = S3ArtifactRepository(artifact_uri, **options)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Write a file."""
        self.store.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Write the files of a folder."""
        self.store.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> Any:
        """What lies in a folder."""
        return self.store.list_artifacts(path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self.store._download_file(remote_file_path, local_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Remove a file or a folder."""
        self.store.delete_artifacts(artifact_path)
