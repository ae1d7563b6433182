"""HTTP for the API and the downloads; NXCloud and Airflow are unknown here."""
