/** For tests of applications: an issuer, the header of its tokens, and signed deliveries, right ones and wrong ones. */
export { bearer, createTestIssuer } from './issuer.js'
export type { TestClaims, TestIssuer, TestIssuerOptions } from './issuer.js'
export { deliveryBytes, signedDelivery } from './delivery.js'
export type { SignedDelivery, SignedDeliveryOptions } from './delivery.js'
