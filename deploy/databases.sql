-- Beside `mlflow`, which the image makes: who may use MLflow.
CREATE DATABASE users;
