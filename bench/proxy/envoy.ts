/** Envoy's configuration for the bench: what it takes to relay HTTP/1.1 to a least-request cluster, and nothing else. */

/** JSON, which is YAML, so Envoy reads it as either. */
export function envoyConfig(port: number, engines: readonly number[]): string {
  const address = (value: number) => ({ socket_address: { address: '127.0.0.1', port_value: value } })
  const typed = (type: string) => ({ '@type': `type.googleapis.com/envoy.extensions.${type}` })
  const manager = {
    ...typed('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'bench',
    http_filters: [
      { name: 'envoy.filters.http.router', typed_config: typed('filters.http.router.v3.Router') },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'engines',
          domains: ['*'],
          // No limit on the whole answer, as a router of streams must be set up.
          routes: [{ match: { prefix: '/' }, route: { cluster: 'engines', timeout: '0s' } }],
        },
      ],
    },
  }
  const cluster = {
    name: 'engines',
    type: 'STATIC',
    lb_policy: 'LEAST_REQUEST',
    connect_timeout: '2s',
    load_assignment: {
      cluster_name: 'engines',
      endpoints: [{ lb_endpoints: engines.map(engine => ({ endpoint: { address: address(engine) } })) }],
    },
  }
  const filter = { name: 'envoy.filters.network.http_connection_manager', typed_config: manager }
  const listener = { address: address(port), filter_chains: [{ filters: [filter] }] }
  return JSON.stringify({ static_resources: { listeners: [listener], clusters: [cluster] } })
}
