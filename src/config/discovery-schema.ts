/** Where pods come from besides `pods:`. */
import { z } from 'zod'
import { podTraits } from '../data/pod-schema.js'
import { count, ms } from '../yaml/fields.js'

const file = z
  .strictObject({
    path: z
      .string()
      .min(1)
      .describe(
        'A YAML or JSON file, relative to this file: a list of pods as under pods:, or pods: with one.',
      ),
    // A look is one small read. Kubernetes itself takes a minute to bring a changed ConfigMap to a pod.
    intervalMs: ms(1_000, 'Between two looks at it.', 50),
  })
  .optional()
  .describe('A file with a list of pods; what is changed there comes into force at once. Default: none.')

const dnsName = z.strictObject({
  name: z
    .string()
    .regex(/^(?=.{1,253}$)[\w-]+(?:\.[\w-]+)*\.?$/, {
      error: 'expected a DNS name, such as engines.default.svc',
    })
    .describe('Name that is asked for.'),
  type: z
    .enum(['A', 'AAAA', 'SRV'])
    .default('A')
    .describe('Records that are pods: addresses (A, AAAA), or hosts with ports (SRV).'),
  // The port of vLLM's server.
  port: count(8_000, 1, 65_535, 'Port of the engines that are found by address; SRV records name their own.'),
  scheme: z.enum(['http', 'https']).default('http').describe('Scheme of their URLs.'),
  // A new pod needs minutes to load its model, and a gone one is noticed by its breaker at once.
  intervalMs: ms(
    5_000,
    "Longest time between two questions; a record's shorter TTL brings the next forward.",
    100,
  ),
  servers: z
    .array(
      z
        .string()
        .regex(/^(?:[\d.]+(?::\d{1,5})?|[0-9a-fA-F:]+|\[[0-9a-fA-F:]+\](?::\d{1,5})?)$/, {
          error: 'expected an IP address, with a port if it is not 53: 10.0.0.10 or [fd00::10]:5353',
        })
        .describe('IP address of a name server, with a port if it is not 53.'),
    )
    .default([])
    .describe("Name servers. Default: the system's."),
  ...podTraits,
})

export const discovery = z
  .strictObject({
    file,
    dns: z
      .array(dnsName.describe('A DNS name whose records are pods.'))
      .default([])
      .describe('DNS names whose records are pods, such as a headless Kubernetes service.'),
  })
  .prefault({})
  .describe('Pods that are found at run time, besides those under pods: and those added on the admin port.')
