-- Room notify, proof: what the search for open creates and the question "was X told" need beyond 0005.

comment on column notify.messages.suspects is
    'Creates whose fate is open, [claimed, given up] each (desk time): the double-search list. A bare instant is an older row''s claim.';

-- Subjects whose copies have been searched for are no longer doubted: {channel_id, before}.
create or replace function notify.undoubt(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    cleared integer;
begin
    update notify.messages m set maybe_created = false, suspects = '[]'
     where m.channel_id = document->>'channel_id' and m.maybe_created and m.state = 'posted'
       and not exists (select from jsonb_array_elements(m.suspects) s
                        where (case jsonb_typeof(s) when 'array' then s->>1 else s#>>'{}' end)::timestamptz
                              > (document->>'before')::timestamptz);
    get diagnostics cleared = row_count;
    return to_jsonb(cleared);
end $$;

-- An action's message is asked for by its id alone, which is the same in every book.
drop index notify.messages_by_action;
create index messages_by_action on notify.messages (action_id, book_id);

create or replace view notify.v_delivery_log as
    select m.channel_id, m.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id, m.state, m.wanted_version,
           m.posted_version, m.message_id, m.embed_index, a.attempt_id, a.operation, a.started_at, a.finished_at, a.http_status,
           a.discord_code, a.retry_after_seconds, a.message_id as answered_message_id, a.error, a.response_excerpt,
           m.posted_at, m.proven_at, m.last_finding, m.dead_reason, m.replaced_by, c.guild_id,
           coalesce(c.thread_id, c.discord_channel_id) as place
      from notify.messages m
      join notify.channels c on c.channel_id = m.channel_id
      left join notify.attempt_subjects s on s.channel_id = m.channel_id and s.subject_key = m.subject_key
      left join notify.attempts a on a.attempt_id = s.attempt_id;
