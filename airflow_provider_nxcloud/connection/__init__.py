"""An Airflow Connection: its fields, its form, and the checked settings made of it."""
