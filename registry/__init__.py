"""Models, releases, hosts and variants as YAML; read through `spy_plugin.registry.catalog`."""
