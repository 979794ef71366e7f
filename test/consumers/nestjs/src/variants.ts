// The application of docs/nestjs.md under other settings of Nest, and what the page says must not be done.
import type { ServerResponse } from 'node:http'
import {
  Catch,
  Controller,
  Get,
  HttpException,
  Module,
  Post,
  Req,
  UseGuards,
  type ArgumentsHost,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type MiddlewareConsumer,
  type NestModule,
  type RawBodyRequest
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, RouteConfig, type NestFastifyApplication } from '@nestjs/platform-fastify'
import type { FastifyReply, FastifyRequest } from 'fastify'
import causeflowAuth, { auth, type CauseflowAuthOptions } from 'fastify-causeflow-auth'
import { AuthErrorFilter } from './auth-error.filter'
import { CurrentPrincipal } from './current-principal.decorator'
import { EventsController } from './events.controller'
import { IncidentsController } from './incidents.controller'

/** Notes what ran, so that a test can see that it did not. */
export const ran: string[] = []

class NotingGuard implements CanActivate {
  canActivate (context: ExecutionContext): boolean {
    ran.push(`guard of ${context.switchToHttp().getRequest<FastifyRequest>().principal?.tenantId}`)
    return true
  }
}

@Controller()
class VariantsController {
  @Get('guarded')
  @UseGuards(NotingGuard)
  guarded (): string {
    return 'in'
  }

  @Get('broken')
  @RouteConfig({
    auth: auth.jwt().check('broken', () => {
      throw new Error('The database is gone')
    })
  })
  broken (): void {}

  @Get('thrown')
  @RouteConfig({ auth: auth.public() })
  thrown (@CurrentPrincipal() principal: unknown): unknown {
    return principal
  }

  @Post('bytes')
  @RouteConfig({ auth: auth.webhook() })
  bytes (@Req() request: RawBodyRequest<FastifyRequest>): { raw: string | undefined; body: unknown } {
    return { raw: request.rawBody?.toString(), body: request.body }
  }

  @Post('plain')
  plain (@Req() request: RawBodyRequest<FastifyRequest>): { raw: string | undefined; body: unknown } {
    return { raw: request.rawBody?.toString(), body: request.body }
  }

  @Post('kept')
  @RouteConfig({ rawBody: true })
  kept (@Req() request: RawBodyRequest<FastifyRequest>): { raw: string | undefined; body: unknown } {
    return { raw: request.rawBody?.toString(), body: request.body }
  }

  @Get('twice')
  @RouteConfig({ auth: auth.deny() })
  @RouteConfig({ auth: auth.public() })
  twice (): string {
    return 'in'
  }
}

@Controller('class-rule')
@RouteConfig({ auth: auth.deny() })
class ClassRuleController {
  @Get()
  read (): string {
    return 'in'
  }
}

@Module({ controllers: [IncidentsController, EventsController, VariantsController, ClassRuleController] })
class VariantsModule implements NestModule {
  configure (consumer: MiddlewareConsumer): void {
    consumer
      .apply(({ originalUrl }: { originalUrl: string }, response: ServerResponse, next: () => void) => {
        ran.push('middleware')
        if (originalUrl.endsWith('?respond')) response.end('from middleware')
        else next()
      })
      .forRoutes('guarded')
  }
}

@Catch()
class CatchAllFilter implements ExceptionFilter<Error & { statusCode?: number }> {
  catch (error: Error & { statusCode?: number }, host: ArgumentsHost): void {
    const status = error instanceof HttpException ? error.getStatus() : (error.statusCode ?? 500)
    host.switchToHttp().getResponse<FastifyReply>().code(status).send({ caught: error.message })
  }
}

export interface Variant {
  rawBody?: boolean
  filter?: 'page' | 'catch-all'
  prefix?: string
  cors?: 'before' | 'after'
  late?: boolean
}

export async function createVariant (
  options: CauseflowAuthOptions,
  variant: Variant = {}
): Promise<NestFastifyApplication> {
  const { rawBody = false, filter, prefix, cors, late = false } = variant
  const app = await NestFactory.create<NestFastifyApplication>(VariantsModule, new FastifyAdapter(), {
    rawBody,
    logger: false
  })
  if (prefix !== undefined) app.setGlobalPrefix(prefix)
  if (filter === 'page') app.useGlobalFilters(new AuthErrorFilter())
  if (filter === 'catch-all') app.useGlobalFilters(new CatchAllFilter())
  if (cors === 'before') app.enableCors({ origin: 'https://app.example.com' })
  if (late) await app.init()
  await app.register(causeflowAuth, options)
  if (cors === 'after') app.enableCors({ origin: 'https://app.example.com' })
  await app.init()
  await app.getHttpAdapter().getInstance().ready()
  return app
}
