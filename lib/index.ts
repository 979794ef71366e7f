/** Authentication for Fastify: bearer tokens, API keys and webhook signatures, as one rule on each route. */
import { apiKeyRoutes } from './api-key-routes.js'
import { createApiKey, parseApiKey, apiKeyDigest, apiKeyPattern } from './api-key/key.js'
import { countsTowardQuota, keysToPurge, replaceSecrets, revokeRecord, rotateRecord } from './api-key/lifecycle.js'
import { MemoryApiKeyStore } from './api-key/memory-store.js'
import { ApiKeyRecordSchema } from './api-key/record.js'
import { AuthError, isAuthError } from './errors.js'
import { causeflowErrorHandler, logRedactPaths, problemErrorHandler } from './error-handlers.js'
import { CauseflowClaimsSchema, causeflowClaims } from './jwt/claims.js'
import { ClerkSessionClaimsSchema, clerk, clerkSession } from './jwt/clerk.js'
import { bindPrincipalToLog, principalBindings } from './log-bindings.js'
import { causeflowAuth } from './plugin.js'
import { principalOf } from './principal.js'
import { auth } from './rule.js'
import { ErrorSchema, PrincipalSchema } from './schemas.js'
import { deliverWebhook } from './webhook/deliver.js'
import { WebhookEnvelopeSchema, parseWebhookEvent } from './webhook/events.js'
import { apiKeySecret } from './webhook/key-secret.js'
import { MemoryReplayStore } from './webhook/memory-replay-store.js'
import { causeflow } from './webhook/schemes/causeflow.js'
import { github } from './webhook/schemes/github.js'
import { sentry } from './webhook/schemes/sentry.js'
import { slack } from './webhook/schemes/slack.js'
import { standardWebhooks } from './webhook/schemes/standard-webhooks.js'
import { stripe } from './webhook/schemes/stripe.js'
import { hashedSecret } from './webhook/secret.js'
import { signWebhook, verifyWebhook } from './webhook/sign.js'

export { causeflowAuth, causeflowAuth as default }
export {
  ApiKeyRecordSchema, AuthError, CauseflowClaimsSchema, ClerkSessionClaimsSchema, ErrorSchema, MemoryApiKeyStore, MemoryReplayStore,
  PrincipalSchema, WebhookEnvelopeSchema, apiKeyDigest, apiKeyPattern, apiKeyRoutes, apiKeySecret, auth, bindPrincipalToLog, causeflow, causeflowClaims, causeflowErrorHandler, clerk,
  clerkSession, countsTowardQuota, createApiKey, deliverWebhook, github, hashedSecret, isAuthError, keysToPurge, logRedactPaths, parseApiKey, parseWebhookEvent, principalBindings, principalOf,
  problemErrorHandler, replaceSecrets, revokeRecord, rotateRecord, sentry, signWebhook, slack, standardWebhooks, stripe, verifyWebhook
}

// For require(): the plugin itself, with every named export on it.
const commonjs = Object.assign(causeflowAuth, {
  ApiKeyRecordSchema,
  AuthError,
  CauseflowClaimsSchema,
  ClerkSessionClaimsSchema,
  ErrorSchema,
  MemoryApiKeyStore,
  MemoryReplayStore,
  PrincipalSchema,
  WebhookEnvelopeSchema,
  apiKeyDigest,
  apiKeyPattern,
  apiKeyRoutes,
  apiKeySecret,
  auth,
  bindPrincipalToLog,
  causeflow,
  causeflowAuth,
  causeflowClaims,
  causeflowErrorHandler,
  clerk,
  clerkSession,
  countsTowardQuota,
  createApiKey,
  deliverWebhook,
  github,
  hashedSecret,
  isAuthError,
  keysToPurge,
  logRedactPaths,
  parseApiKey,
  parseWebhookEvent,
  principalBindings,
  principalOf,
  problemErrorHandler,
  replaceSecrets,
  revokeRecord,
  rotateRecord,
  sentry,
  signWebhook,
  slack,
  standardWebhooks,
  stripe,
  verifyWebhook,
  default: causeflowAuth
})
export { commonjs as 'module.exports' }

export type { InvalidationChannel, InvalidationListener, KeyChange } from './api-key/invalidation.js'
export type { ApiKeyEnvironment, NewApiKey, ParsedApiKey } from './api-key/key.js'
export type { ApiKeys, IssuedApiKey, IssuedWebhookSecret } from './api-key/manage.js'
export type { NewKeyInput } from './api-key/new-key.js'
export type { ApiKeyRecord, SealedSecret, StoredApiKey } from './api-key/record.js'
export type { SealingKey } from './api-key/seal.js'
export type { Answer, ApiKeyStore, KeyUse, ListPage, ListQuery, LookupHint, RevokeAllQuery } from './api-key/store.js'
export type { KeyName, Revocation, Rotation, SecretReplacement } from './api-key/lifecycle.js'
export type { ApiKeyEvent } from './api-key/key-event.js'
export type { ApiKeyRoutesOptions } from './api-key-routes.js'
export type { AuthErrorCode, AuthErrorReason } from './errors.js'
export type { ErrorHandler } from './error-handlers.js'
export type { Guard } from './guard.js'
export type { PrincipalBindings } from './log-bindings.js'
export type { Algorithm } from './jwt/algorithm.js'
export type { KeySetEvent } from './jwt/key-set.js'
export type { DecisionEvent } from './refusal.js'
export type { CauseflowClaims, ClaimMapping, MappedPrincipal } from './jwt/claims.js'
export type { ClerkOptions, ClerkSessionClaims, ClerkSessionOptions } from './jwt/clerk.js'
export type { ApiKeyOptions, CauseflowAuthOptions, JwtOptions, SecretFinder, TenantOptions, WebhookOptions } from './options.js'
export type { CauseflowAuth, RouteDescription } from './plugin.js'
export type { ApiKeyPrincipal, CauseflowAuthTypes, Claims, JwtPrincipal, Principal, PrincipalOf, Role, Scheme, Scope, WebhookPrincipal } from './principal.js'
export type { AuthBuilders, AuthRule, Check, CredentialRule, IdentityRule, StandingRule, TokenOrKeyRule } from './rule.js'
export type { ErrorAnswer } from './schemas.js'
export type { DeliverWebhookOptions, DeliveryAttempt, DeliveryResult } from './webhook/deliver.js'
export type { WebhookEnvelope, WebhookEvent, WebhookEventData, WebhookEventName } from './webhook/events.js'
export type { MemoryReplayStoreOptions } from './webhook/memory-replay-store.js'
export type { DeliveryState, DeliveryTry, ReplayStore } from './webhook/replay.js'
export type { CauseflowSchemeOptions } from './webhook/schemes/causeflow.js'
export type { Secret, SecretAnswer } from './webhook/secret.js'
export type { HeaderSource, SignWebhookOptions, VerifyWebhookOptions } from './webhook/sign.js'
export type { OutgoingDelivery, PresentedSignature, SignatureScheme } from './webhook/signature.js'
