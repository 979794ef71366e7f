import t from 'tap'
import { isLoopbackHost, isPrivateHost } from '../../lib/webhook/address.js'

const hostOf = (host: string): string => new URL(`https://${host}/`).hostname

t.test('this machine is known in every spelling', async (t) => {
  for (const host of ['127.0.0.1', '127.1', '127.0.1', '2130706433', '0x7f000001', '0x7f.1', '0177.0.0.1', '017700000001', '127.0.0.1.', '127.255.255.255', '①②⑦.⓪.⓪.①', '127。0。0。1', '１２７.0.0.1', '%31%32%37.0.0.1', '[::1]', '[0:0:0:0:0:0:0:1]', 'localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'localhost.localdomain', 'ip6-localhost', 'ip6-loopback', 'ⓛocalhost']) {
    t.equal(isPrivateHost(hostOf(host)), true, host)
    t.equal(isLoopbackHost(hostOf(host)), true, host)
  }
})

t.test('addresses that are not public are private, to the last of each network, and their neighbors are not', async (t) => {
  for (const [first, last, before, after] of [
    ['0.0.0.0', '0.255.255.255', null, '1.0.0.0'],
    ['10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
    ['100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
    ['127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
    ['168.63.129.16', '168.63.129.16', '168.63.129.15', '168.63.129.17'],
    ['169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
    ['172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
    ['192.0.0.0', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
    ['192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
    ['198.18.0.0', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
    ['224.0.0.0', '255.255.255.255', '223.255.255.255', null]
  ]) {
    t.strictSame([first, last].map((host) => isPrivateHost(hostOf(host!))), [true, true], first!)
    t.strictSame([before, after].filter((host) => host !== null).map((host) => isPrivateHost(hostOf(host!))).includes(true), false, `around ${first}`)
  }
  for (const host of ['169.254.169.254', '0xa9fea9fe', '2852039166', '192.0.2.1', '198.51.100.1', '203.0.113.1', '192.88.99.1']) t.equal(isPrivateHost(hostOf(host)), true, host)
})

t.test('an IPv6 address is private unless it is global unicast, and one that carries an IPv4 address always', async (t) => {
  for (const host of ['[::]', '[fe80::1]', '[fec0::1]', '[fc00::1]', '[fd00:ec2::254]', '[ff02::1]', '[100::1]', '[2001:db8::1]', '[3fff::1]', '[2001::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::ffff:10.0.0.1]', '[::ffff:a9fe:a9fe]', '[::127.0.0.1]', '[64:ff9b::127.0.0.1]', '[64:ff9b:1::7f00:1]', '[2002:7f00:1::]', '[1fff::1]', '[4000::1]']) {
    t.equal(isPrivateHost(hostOf(host)), true, host)
  }
  for (const host of ['[2600::1]', '[2001:4860:4860::8888]', '[2a00:1450::1]', '[3ffe::1]']) t.equal(isPrivateHost(hostOf(host)), false, host)
})

t.test('a name is not private, whatever it contains, and only this machine is loopback', async (t) => {
  for (const host of ['example.com', 'localhost.example.com', 'mylocalhost', 'localhost-a.test', '127.0.0.1.example.com', 'a.127.0.0.1.example', 'münchen.example']) {
    t.equal(isPrivateHost(hostOf(host)), false, host)
  }
  for (const host of ['10.0.0.1', '169.254.169.254', '[::]', '0.0.0.0', '[::ffff:127.0.0.1]', '[fe80::1]', 'example.com', '128.0.0.1', '12.7.0.0']) {
    t.equal(isLoopbackHost(hostOf(host)), false, host)
  }
})
