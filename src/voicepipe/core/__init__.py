"""The machinery: parts, stages, the queues between them and their lifetimes. It knows neither speech nor vendors."""
