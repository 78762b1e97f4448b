/** What a pod's entry may say of its hand-offs. */
import test from 'ava'
import { podSchema } from '#phyllo/data/pod-schema.js'

const faultOf = (kvTransfer: unknown): string | undefined => {
  const [issue] = podSchema.safeParse({ url: 'http://p0:8000', kvTransfer }).error?.issues ?? []
  return issue && `${issue.path.join('.')}: ${issue.message}`
}

test('a pod with p2p-nccl and no address, or one that no header holds, was found out by its first client', t => {
  t.regex(faultOf({ connector: 'p2p-nccl' }) ?? '', /^kvTransfer\.address: .*needs one/)
  for (const address of ['höst:1', 'a___decode_addr_b:1', 'a\u0000b:1', ':1', 'host', 'host:123456']) {
    t.regex(faultOf({ connector: 'p2p-nccl', address }) ?? '', /^kvTransfer\.address: must be/, address)
  }
  for (const address of ['10.0.0.1:14579', '[fd00::1]:14579', 'pod-0.pods.svc:14579']) {
    t.is(faultOf({ connector: 'p2p-nccl', address }), undefined)
  }
  t.is(faultOf({ connector: 'nixl' }), undefined)
})
