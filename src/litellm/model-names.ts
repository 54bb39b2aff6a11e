import type { MayUseModel } from '../keyring/model-globs.ts';

/** Why a request is not let through: it names a model that may not be used, or is not readable. */
export type ModelFault = { readonly model: string } | { readonly why: string };

/**
 * What LiteLLM does with a member of a body, or with a parameter of a query:
 * `model` – it is the model, or several with commas between (route_llm_request.py);
 * `list` – lists of models, in any depth: what is tried where the first failed, or all at once;
 * `closed` – it may choose another model in a way that nobody can see here;
 * `body` – an object of such members, which goes on to the provider and overrides its own.
 */
type Meaning = 'model' | 'list' | 'closed' | 'body';

/**
 * The names under which LiteLLM itself takes a model from the top of a request (1.104.9, 1.108.5,
 * 1.110.2): auth/auth_utils.py, route_llm_request.py, router_utils/fallback_event_handlers.py,
 * `deployment_id` and `context_window_fallback_dict` in main.py and utils.py, `extra_body` in
 * llms/openai/openai.py; `models` is OpenRouter's own list of fallbacks. From `model_id` on they
 * are of single providers (llms/*), where they go before the model that the Router chose: of
 * Bedrock, SageMaker and Vertex AI, SageMaker, SAP, OCI, Riva, Azure's agents, LangGraph. Not here
 * is what LiteLLM refuses in every body (`deployment_url`, `nvcf_function_id`, `api_base`), what
 * names a version of the same model, and what a provider reads that LiteLLM only passes on.
 */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ['model', 'model'],
  ['deployment_id', 'model'],
  ['target_model_names', 'model'],
  ['models', 'list'],
  ['fallbacks', 'list'],
  ['context_window_fallbacks', 'list'],
  ['content_policy_fallbacks', 'list'],
  ['context_window_fallback_dict', 'list'],
  ['silent_model', 'list'],
  ['extra_body', 'body'],
  ['model_list', 'closed'],
  ['model_group_alias', 'closed'],
  ['user_config', 'closed'],
  ['router_settings_override', 'closed'],
  ['litellm_params', 'closed'],
  ['prompt_id', 'closed'],
  ['model_id', 'closed'],
  ['hf_model_name', 'closed'],
  ['fallback_sap_modules', 'closed'],
  ['oci_endpoint_id', 'closed'],
  ['oci_serving_mode', 'closed'],
  ['riva_model_name', 'closed'],
  ['agent_id', 'closed'],
  ['assistant_id', 'closed'],
]);

/** Whether a member by this name may say which model is used. */
export const namesModels = (member: string): boolean => MEANINGS.has(member);

const LENGTHS = new Set(['tools', ...MEANINGS.keys()].map(({ length }) => length));

/** Whether a name of so many letters may be one of these, or `tools`. */
export const mayNameModels = (length: number): boolean => LENGTHS.has(length);

/** The deepest that the value of such a member may be nested. */
const DEEPEST = 32;

/** Compares all that one request names with what its client may use. */
export class ModelJudge {
  /**
   * The model itself was named, by a path, or as `model` at the top of a query or body: LiteLLM
   * chooses one by itself where only another name has one, as for moderations.
   */
  isNamed = false;
  readonly #mayUse: MayUseModel;

  constructor(mayUse: MayUseModel) {
    this.#mayUse = mayUse;
  }

  /** Judges the model itself. */
  model(name: string): ModelFault | undefined {
    if (name !== '') this.isNamed = true;
    return this.#models(name);
  }

  /** With commas LiteLLM asks each of several models. */
  #models(name: string): ModelFault | undefined {
    const names = name.includes(',') ? name.split(',').map((each) => each.trim()) : [name];
    const denied = names.find((each) => !this.#mayUse(each));
    return denied === undefined ? undefined : { model: denied };
  }

  /** Judges the parsed value of a member. What is null is as good as absent to LiteLLM. */
  member(name: string, value: unknown, depth = 0): ModelFault | undefined {
    const meaning = MEANINGS.get(name);
    if (meaning === undefined || value === null) return undefined;
    if (depth > DEEPEST) return { why: `"${name}" is nested too deeply` };
    switch (meaning) {
      case 'model':
        if (typeof value === 'string') {
          return name === 'model' && depth === 0 ? this.model(value) : this.#models(value);
        }
        if (name === 'target_model_names') return this.#each(name, value, depth);
        return { why: `"${name}" is no text` };
      case 'list':
        return this.#each(name, value, depth);
      case 'body':
        return this.#body(name, value, depth);
      case 'closed':
        return { why: `"${name}" may choose another model` };
    }
  }

  /** Judges the text of a field of a form, or of a query: LiteLLM reads no lists out of those. */
  field(name: string, text: string): ModelFault | undefined {
    const bracket = name.indexOf('[');
    const base = bracket < 0 ? name : name.slice(0, bracket);
    const meaning = MEANINGS.get(base);
    if (meaning === undefined) return undefined;
    if (name === 'model') return this.model(text);
    const isPlain = bracket < 0 || name === `${base}[]`;
    if (isPlain && (meaning === 'model' || base === 'models')) return this.#models(text);
    return { why: `the field "${base}" may choose another model` };
  }

  #each(name: string, value: unknown, depth: number): ModelFault | undefined {
    if (typeof value === 'string') return this.beside(value);
    if (depth > DEEPEST) return { why: `"${name}" is nested too deeply` };
    return firstOf(parts(value), (part) => this.#each(name, part, depth + 1));
  }

  /** Judges a model beside the one that is asked for; an empty name is none. */
  beside(name: string): ModelFault | undefined {
    return name === '' || this.#mayUse(name) ? undefined : { model: name };
  }

  #body(name: string, value: unknown, depth: number): ModelFault | undefined {
    if (typeof value === 'string') return { why: `"${name}" is text` };
    if (depth > DEEPEST) return { why: `"${name}" is nested too deeply` };
    if (typeof value !== 'object' || value === null) return undefined;
    return firstOf(Object.entries(value), ([key, part]) =>
      namesModels(key)
        ? this.member(key, part, depth + 1)
        : typeof part === 'object' && part !== null
          ? this.#body(name, part, depth + 1)
          : undefined,
    );
  }
}

const parts = (value: unknown): readonly unknown[] =>
  typeof value === 'object' && value !== null ? Object.values(value) : [];

function firstOf<Item>(
  items: readonly Item[],
  judge: (item: Item) => ModelFault | undefined,
): ModelFault | undefined {
  for (const item of items) {
    const fault = judge(item);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
