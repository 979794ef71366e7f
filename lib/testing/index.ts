/** For tests of applications: an issuer, the header of its tokens, signed deliveries right and wrong, requests in a principal's name. */
export { bearer, createTestIssuer } from './issuer.js'
export type { TestClaims, TestIssuer, TestIssuerOptions } from './issuer.js'
export { deliveryBytes, signedDelivery } from './delivery.js'
export type { SignedDelivery, SignedDeliveryOptions } from './delivery.js'
export { injectAs } from './inject-as.js'
export type { PartialPrincipal } from './inject-as.js'
