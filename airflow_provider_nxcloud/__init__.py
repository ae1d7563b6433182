"""Apache Airflow provider for NXCloud: WhatsApp media into your own object storage."""

__version__ = "0.1.0"
