/** Which hosts of a URL lead to this machine, or to a network that is not the public one. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'

/**
 * Whether the hostname of a URL is an address that is not public, or a name of this machine. Give it `new
 * URL(…).hostname`, which has one spelling of each address: `127.1`, `2130706433`, `0x7f000001` and fullwidth
 * digits are `127.0.0.1` there.
 *
 * Does not look up names: any other name may lead to a private address.
 */
export function isPrivateHost (hostname: string): boolean {
  if (isLocalName(hostname)) return true
  if (isIPv4(hostname)) return special.check(hostname, 'ipv4')
  const address = unbracketed(hostname)
  return isIPv6(address) && (!global.check(address, 'ipv6') || special.check(address, 'ipv6'))
}

/**
 * Whether the hostname of a URL is this machine. Names as `localhost` are taken at their word (RFC 6761
 * §6.3).
 */
export function isLoopbackHost (hostname: string): boolean {
  return isLocalName(hostname) || (isIPv4(hostname) && hostname.startsWith('127.')) || hostname === '[::1]'
}

/** With or without the full stop that ends a name. */
function isLocalName (hostname: string): boolean {
  return /^(?:.*\.)?(?:localhost|localhost\.localdomain|ip6-localhost|ip6-loopback)\.?$/.test(hostname)
}

function unbracketed (hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
}

/**
 * The IPv6 addresses that are allocated for global unicast (RFC 4291 §2.4). All others are unspecified,
 * loopback, link-local, unique local, multicast, or carry an IPv4 address (mapped, compatible, NAT64), which
 * may be a private one.
 */
const global = new BlockList()
global.addSubnet('2000::', 3, 'ipv6')

// The registries of special-purpose addresses (RFC 6890), and 168.63.129.16, where Azure answers its
// machines.
const special = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24],
  ['192.0.2.0', 24], ['192.88.99.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15], ['198.51.100.0', 24], ['203.0.113.0', 24],
  ['224.0.0.0', 4], ['240.0.0.0', 4], ['168.63.129.16', 32]
] as const) special.addSubnet(network, prefix, 'ipv4')
// Protocol assignments with Teredo among them, documentation, 6to4.
for (const [network, prefix] of [['2001::', 23], ['2001:db8::', 32], ['2002::', 16], ['3fff::', 20]] as const) special.addSubnet(network, prefix, 'ipv6')
